"""Image messages: their bytes become arrays, and arrays become messages."""
