"""Networks on disk: weights, exported graphs and checkpoints of the authors' release."""
