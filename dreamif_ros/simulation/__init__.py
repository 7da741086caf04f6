"""Simulated cameras: the node that publishes a scene, and the demo."""
