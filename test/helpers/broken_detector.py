"""The pipeline node with a detector that fails at every image, as a process of its own."""

import sys

from dreamif_ros.detection import pipeline_node
from dreamif_ros.detection.detector import Detector


def fail(_self, _image):
    raise RuntimeError("out of luck")


if __name__ == "__main__":
    Detector.detect = fail
    sys.exit(pipeline_node.main())
