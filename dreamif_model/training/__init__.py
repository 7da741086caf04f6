"""Training of networks on folders of pairs."""
