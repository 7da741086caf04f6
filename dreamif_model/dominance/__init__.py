"""Dominance maps: smoothed over frames, and drawn over the fused image."""
