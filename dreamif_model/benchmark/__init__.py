"""How long a frame takes, beside other methods, and how large a variant is."""
