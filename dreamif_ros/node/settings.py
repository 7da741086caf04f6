"""The settings that both managed nodes have."""

from __future__ import annotations

from dataclasses import dataclass

from dreamif_ros.node.parameters import parameter
from dreamif_ros.node.transport import TRANSPORTS


@dataclass(frozen=True)
class NodeSettings:
    """Parameters of a managed node that takes images and publishes images."""

    autostart: bool = parameter(
        True, "Configure and activate at the start, without a life-cycle manager."
    )
    device: str = parameter("auto", "Compute device: auto, cpu, cuda or cuda:N.")
    image_transport: str = parameter(
        "raw",
        "Transport of the input images; compressed subscribes to <topic>/compressed.",
        choices=TRANSPORTS,
    )
    max_megapixels: float = parameter(
        8.5,
        "Larger images are refused, which limits the memory that one image takes.",
        0.01,
        1000.0,
        unit="Mpx",
        live=True,
    )
    jpeg_quality: int = parameter(
        90, "JPEG quality of the compressed outputs; 100 is best.", 1, 100, unit="%", live=True
    )
