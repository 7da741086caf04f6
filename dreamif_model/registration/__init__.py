"""Registration: how infrared lies on the visible image, its estimation, and the warp."""
