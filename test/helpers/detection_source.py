"""A minimal detector as a process of its own: `python detection_source.py`.

Publishes one message on `every_field`, latched, in which no two numbers or texts are the same.
"""

from itertools import count

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
)

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class Numbered:
    """Makes messages whose fields are numbered through: n, "№ n", or n + 1/3."""

    def __init__(self):
        self._numbers = count(1)

    def whole(self):
        return next(self._numbers)

    def text(self):
        return f"№ {self.whole()}"

    def real(self):
        return self.whole() + 1 / 3

    def header(self):
        return Header(stamp=Time(sec=self.whole(), nanosec=self.whole()), frame_id=self.text())

    def pose(self):
        position = Point(x=self.real(), y=self.real(), z=self.real())
        turn = Quaternion(x=self.real(), y=self.real(), z=self.real(), w=self.real())
        return PoseWithCovariance(
            pose=Pose(position=position, orientation=turn),
            covariance=[self.real() for _ in range(36)],
        )

    def result(self):
        hypothesis = ObjectHypothesis(class_id=self.text(), score=self.real())
        return ObjectHypothesisWithPose(hypothesis=hypothesis, pose=self.pose())

    def bbox(self):
        center = Pose2D(position=Point2D(x=self.real(), y=self.real()), theta=self.real())
        return BoundingBox2D(center=center, size_x=self.real(), size_y=self.real())

    def detection(self, results):
        return Detection2D(
            header=self.header(),
            results=[self.result() for _ in range(results)],
            bbox=self.bbox(),
            id=self.text(),
        )


def full_message():
    """Three detections: with two results, with none and with one."""
    numbered = Numbered()
    return Detection2DArray(
        header=numbered.header(),
        detections=[numbered.detection(results) for results in (2, 0, 1)],
    )


def main():
    rclpy.init()
    node = rclpy.create_node("detection_source")
    try:
        node.create_publisher(Detection2DArray, "every_field", LATCHED).publish(full_message())
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
