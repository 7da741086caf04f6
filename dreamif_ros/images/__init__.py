"""Image messages to arrays, and arrays to image messages."""
