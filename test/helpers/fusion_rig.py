"""A fusion node as a process, fed and heard by a client in the test's own process."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.stamps import split_ns
from helpers.ros_processes import spin_until, wait_until_heard

NODE = "dreamif_ros.fusion.node"
QOS = QoSProfile(depth=50)
LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
K = [64.0, 0.0, 31.5, 0.0, 64.0, 23.5, 0.0, 0.0, 1.0]  # the visible camera's
STILL = {"health__frozen_s": 0.0}  # the rig repeats one pair, which is no fault here
PATIENT = STILL | {"health__timeout_s": 0.0}  # and may pause: no camera is silent
RNG = np.random.default_rng(0)
VISIBLE = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
INFRARED = RNG.integers(0, 256, (48, 64), dtype=np.uint8)


class Rig:
    """Publishes pairs to a running node and records its outputs.

    frame: The number of frames that another rig sent to this node before: stamps must increase.
    """

    OUTPUTS = ("fused/image_raw", "dominance/infrared", "dominance/visible", "dominance/overlay")

    def __init__(self, node, process, outputs=OUTPUTS, frame=0):
        self.node, self.process, self.frame = node, process, frame
        self.heard = {topic: [] for topic in outputs}
        self.infos, self.modes, self.state = [], [], {}
        for topic, messages in self.heard.items():
            node.create_subscription(Image, topic, messages.append, QOS)
        node.create_subscription(CameraInfo, "fused/camera_info", self.infos.append, QOS)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)
        node.create_subscription(
            String, "fusion_mode", lambda message: self.modes.append(message.data), LATCHED
        )
        self.infrared = node.create_publisher(Image, "infrared/image_raw", QOS)
        self.visible = node.create_publisher(Image, "visible/image_raw", QOS)
        self.info = node.create_publisher(CameraInfo, "visible/camera_info", QOS)
        wait_until_heard(node, self.visible, self.infrared)
        assert spin_until(node, self.info.get_subscription_count)

    def destroy(self):
        """Destroy all publishers and subscriptions."""
        for publisher in (self.infrared, self.visible, self.info):
            self.node.destroy_publisher(publisher)
        for subscription in list(self.node.subscriptions):
            self.node.destroy_subscription(subscription)

    def _on_diagnostics(self, message):
        self.state = {item.key: item.value for item in message.status[0].values}

    def header(self, frame_id):
        header = Header(frame_id=frame_id)
        header.stamp.sec = 100 + self.frame
        return header

    def send(self, visible, infrared, infrared_late_ns=0):
        """Publish one pair of messages under a new stamp; returns the visible header."""
        self.frame += 1
        visible.header, infrared.header = self.header("rgb"), self.header("thermal")
        carry_s, nanosec = split_ns(infrared_late_ns)
        infrared.header.stamp.sec += carry_s
        infrared.header.stamp.nanosec = nanosec
        self.info.publish(CameraInfo(header=visible.header, width=64, height=48, d=[0.0] * 5, k=K))
        self.visible.publish(visible)
        self.infrared.publish(infrared)
        return visible.header

    def good_pair(self):
        return (
            ROS_MESSAGES.image(VISIBLE, "bgr8", Header()),
            ROS_MESSAGES.image(INFRARED, "mono8", Header()),
        )

    def wait(self, count, timeout_s=20.0):
        """Wait for `count` messages on every output."""
        done = spin_until(
            self.node, lambda: all(len(m) >= count for m in self.heard.values()), timeout_s
        )
        assert done, f"{ {t: len(m) for t, m in self.heard.items()} } {self.process.output()}"
