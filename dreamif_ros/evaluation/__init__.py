"""What a recording is worth: surveyed, fused offline, measured; one bag or many."""
