"""The fusion node, which fails when it makes a detection image, as a process of its own."""

import sys

from dreamif_model import engine
from dreamif_ros.fusion import node


def fail(*_):
    raise RuntimeError("out of luck")


if __name__ == "__main__":
    engine.detection_luma = fail
    sys.exit(node.main())
