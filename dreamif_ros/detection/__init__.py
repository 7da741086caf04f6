"""Object detection in camera images and fused ones, through ultralytics (AGPL-3.0, optional)."""
