"""Fusion and detection in one process: the fused image is handed over in memory.

Both nodes keep their names, topics and parameters. A parameter that both nodes have is given to
both, unless the node is named: ``-p detector_node:device:=cpu``.
"""

from __future__ import annotations

import sys

from dreamif_ros.detection.node import DetectorNode
from dreamif_ros.detection.parameters import DETECTOR_PARAMETERS
from dreamif_ros.fusion.node import FusionNode
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS
from dreamif_ros.node.runtime import run_nodes


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros pipeline_node``."""
    detectors: list[DetectorNode] = []

    def detector_node() -> DetectorNode:
        known = [row.name for row in FUSION_PARAMETERS]
        detectors.append(DetectorNode(also_known=known))
        return detectors[0]

    def fusion_node() -> FusionNode:
        known = [row.name for row in DETECTOR_PARAMETERS]
        return FusionNode(also_known=known, listener=detectors[0])

    return run_nodes([detector_node, fusion_node], args)


if __name__ == "__main__":
    sys.exit(main())
