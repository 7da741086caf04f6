"""Bags that tests make: two cameras that see one moving scene."""

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamif_model.image_files import find_pairs
from dreamif_ros.bag.image_sources import image_files
from dreamif_ros.bag.make import make_bag
from dreamif_ros.bag.recording import Recording

STORE = get_typestore(Stores.ROS2_HUMBLE)
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
START_NS = 1_000_000_000
TOPICS = ("/infrared/image_raw", "/visible/image_raw")
UNKNOWN = {"msgdef": "int32 x", "rihs01": "RIHS01_0"}  # of any type that is not in the store


def header(stamp_ns, frame_id="camera"):
    types = STORE.types
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image(pixels, stamp_ns):
    encodings = {
        ("uint8", 2): "mono8",
        ("uint16", 2): "mono16",
        ("float32", 2): "32FC1",
        ("uint8", 3): "rgb8",
    }
    message = STORE.types[IMAGE](
        header=header(stamp_ns),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encodings[str(pixels.dtype), pixels.ndim],
        is_bigendian=0,
        step=pixels.strides[0],
        data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
    )
    return IMAGE, STORE.serialize_cdr(message, IMAGE)


def compressed(pixels, stamp_ns, codec="png"):
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    kind = "mono16" if pixels.dtype == np.uint16 else "mono8" if pixels.ndim == 2 else "rgb8"
    message = STORE.types[COMPRESSED_IMAGE](
        header=header(stamp_ns),
        format=f"{kind}; {codec} compressed {'bgr8' if pixels.ndim == 3 else ''}",
        data=cv2.imencode(f".{codec}", stored)[1].reshape(-1),
    )
    return COMPRESSED_IMAGE, STORE.serialize_cdr(message, COMPRESSED_IMAGE)


class Street:
    """Bright blocks that cross a textured wall: warm ones shine in infrared as in visible.

    Blocks and wall have edges in both images; size is (width, height).
    """

    def __init__(self, size=(96, 72), seed=0):
        rng = np.random.default_rng(seed)
        self.size = size
        wall = rng.integers(40, 140, (size[1] // 8, size[0] // 8)).astype(np.uint8)
        self._wall = cv2.resize(wall, size, interpolation=cv2.INTER_NEAREST)
        self._rows = [round(size[1] * share) for share in (0.15, 0.4, 0.7)]
        self._seed = seed

    def luma(self, time_s):
        picture = self._wall.copy()
        for lane, top in enumerate(self._rows):
            left = self.size[0] * (0.5 + 0.45 * np.sin(time_s * (1.1 + 0.7 * lane) + lane))
            side = self.size[1] // 6
            cv2.rectangle(
                picture, (int(left) - side, top), (int(left) + side // 2, top + side), 250, -1
            )
        return picture

    def visible(self, time_s):
        noise = self._noise(time_s, 2.0)
        gray = np.clip(self.luma(time_s) * 0.8 + noise, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.dstack([gray, gray, gray // 2]))

    def infrared(self, time_s):
        counts = 29000 + 8.0 * self.luma(time_s) + self._noise(time_s, 5.0)
        return counts.astype(np.uint16)

    def _noise(self, time_s, sigma):
        rng = np.random.default_rng([self._seed, int(time_s * 1e6) + 1_000_000, int(sigma)])
        return rng.normal(0, sigma, (self.size[1], self.size[0]))


def street_messages(seconds=2.0, rate_hz=10.0, street=None, infrared_clock_s=0.0):
    """(topic, type, time in ns, CDR) of both cameras; the infrared clock shows so much more."""
    street = street or Street()
    for index in range(round(seconds * rate_hz)):
        time_s = index / rate_hz
        time_ns = START_NS + round(time_s * 1e9)
        shown_ns = time_ns + round(infrared_clock_s * 1e9)
        yield TOPICS[0], time_ns, *image(street.infrared(time_s), shown_ns)
        yield TOPICS[1], time_ns, *image(street.visible(time_s), time_ns)


def write_bag(path, messages, plugin=StoragePlugin.MCAP, compression=None):
    """A bag of (topic, time in ns, type, CDR)."""
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression:
        writer.set_compression(*compression)
    with writer:
        connections = {}
        for topic, time_ns, kind, data in messages:
            if (topic, kind) not in connections:
                definition = {"typestore": STORE} if kind in STORE.types else UNKNOWN
                connections[topic, kind] = writer.add_connection(topic, kind, **definition)
            writer.write(connections[topic, kind], time_ns, data)
    return path


def noise_pairs(folder, depth=np.uint8, frames=10, size=(32, 24)):
    """Pairs of noise images in two folders; the infrared has half the (width, height)."""
    rng = np.random.default_rng(7)
    (width, height), top = size, np.iinfo(depth).max
    for name in ("ir", "vi"):
        (folder / name).mkdir(parents=True)
    for index in range(frames):
        infrared = rng.integers(0, top, (height // 2, width // 2), depth, endpoint=True)
        visible = rng.integers(0, 255, (height, width, 3), np.uint8, endpoint=True)
        cv2.imwrite(str(folder / "ir" / f"{index:03}.png"), infrared)
        cv2.imwrite(str(folder / "vi" / f"{index:03}.png"), visible)
    return find_pairs(folder / "ir", folder / "vi")


def read_bag(path):
    """All messages of a bag."""
    with Recording(path) as recording:
        return list(recording.messages(recording.topics))


def write_pairs(pairs, rate_hz, out):
    """A bag of image files, as `dreamif bag make` writes it; returns the number of pairs."""
    written = make_bag(image_files(pairs, rate_hz), out)
    assert written.infrared.count == written.visible.count
    return written.visible.count
