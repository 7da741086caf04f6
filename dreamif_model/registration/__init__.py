"""Registration: where infrared lies on the visible image, how that is found, and the warp."""
