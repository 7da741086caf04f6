"""The fusion node, which fails when it lays measured values, as a process of its own."""

import sys

from dreamif_model.registration.warp import Warp
from dreamif_ros.fusion import node


def fail(*_):
    raise RuntimeError("out of luck")


if __name__ == "__main__":
    Warp.nearest = fail
    sys.exit(node.main())
