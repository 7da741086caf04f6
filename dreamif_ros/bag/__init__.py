"""Recordings: written from image pairs, read back, replayed, calibrated from."""
