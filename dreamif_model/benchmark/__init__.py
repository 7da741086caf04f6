"""Time per frame beside other methods, and the size of a variant."""
