"""Degraded images: the kinds, their text form, the code, and classic denoisers against them."""
