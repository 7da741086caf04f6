"""What spoils images: its kinds, its text form, the code for it, and classic denoisers."""
