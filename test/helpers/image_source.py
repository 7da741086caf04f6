"""A minimal camera as a process of its own: `python image_source.py RELIABILITY`.

Publishes 640×480 bgr8 images on `camera/image_raw` at 30 Hz, numbered in the seconds of their
stamps, with whatever DDS settings the environment has.
"""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

RATE_HZ = 30


def main(reliability):
    rclpy.init()
    node = rclpy.create_node(f"{reliability}_camera")
    qos = QoSProfile(depth=10, reliability=QoSReliabilityPolicy[reliability.upper()])
    publisher = node.create_publisher(Image, "camera/image_raw", qos)
    image = Image(encoding="bgr8", height=480, width=640, step=1920, data=bytes(480 * 1920))

    def publish():
        image.header.stamp.sec += 1
        publisher.publish(image)

    node.create_timer(1 / RATE_HZ, publish)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
