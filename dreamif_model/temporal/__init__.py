"""Removes noise over time from both cameras' images before they are fused."""
