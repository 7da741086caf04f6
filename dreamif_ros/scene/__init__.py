"""A night street that we draw ourselves, seen by a visible and an infrared camera.

No assets and no downloads: `Scene` draws every frame from its seed and the time.
"""

from __future__ import annotations

from dreamif_ros.scene.scene import Box, Scene, SceneConfig

__all__ = ["Box", "Scene", "SceneConfig"]
