"""What the fusion node would do with the images of a bag, and the commands that replay it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from dreamif_model.cameras import Both, Camera
from dreamif_ros.bag.camera_topics import COMPRESSED, info_topic
from dreamif_ros.bag.storage import INFRARED_TOPIC, VISIBLE_TOPIC, Topic
from dreamif_ros.codec.message_builder import CAMERA_INFO, COMPRESSED_IMAGE
from dreamif_ros.evaluation.advice import advise_on_recording
from dreamif_ros.evaluation.bag_info import BagInfo, CamerasInfo, TopicInfo

MAX_MEGAPIXELS = 8.5  # the default of the node's parameter max_megapixels
SAME_SHAPE = 1.01  # ratio of two shapes (width to height) that count as one
SENSOR_SHAPES = (4 / 3, 5 / 4)  # width to height of thermal sensors
ROWS_BESIDE = 0.04  # of the height that are no picture, such as telemetry

_TOPICS = Both(INFRARED_TOPIC, VISIBLE_TOPIC)
_INFRARED_KINDS = {
    "uint8": "8 bit, shown as it is",
    "uint16": "16-bit counts, shown by their 1st to 99.5th percentile, which follows slowly; "
    "thermal.mode: fixed holds the range still",
    "float32": "°C, shown by their 1st to 99.5th percentile, which follows slowly",
    "colour": "a colour palette, of which the luma is taken; a camera that can should publish "
    "mono16 or mono8",
}


def advise(info: BagInfo) -> list[str]:
    """One or two sentences each; what prevents the fusion comes first."""
    cameras = info.cameras
    if cameras is None:
        return [f"nothing can be fused: {info.no_cameras}"]
    return [
        *_decoding(cameras),
        *(f"infrared: {remark}" for remark in cameras.remarks),
        *_transport(cameras),
        *advise_on_recording(cameras.facts),
        *_sizes(info.bag, cameras),
        *_quality_of_service(info, cameras),
    ]


def commands(info: BagInfo) -> list[str]:
    """What replays the bag into the node, in two terminals; nothing where it cannot be fused."""
    cameras = info.cameras
    if cameras is None or _is_mixed(cameras):
        return []
    arguments: list[str] = []
    if _is_compressed(cameras.infrared):
        arguments += ["-p", "image_transport:=compressed"]
    if cameras.clock_offset_s is not None and cameras.pairing_with_offset:
        arguments += ["-p", f"sync.infrared_offset_s:={cameras.clock_offset_s:.3f}"]
    for camera, topic in cameras.topics.items():
        for remap in (*_image_remaps(camera, topic), *_info_remaps(info, camera, topic)):
            arguments += ["-r", remap]
    node = ["fusion_node", *(["--ros-args", *arguments] if arguments else [])]
    return [shlex.join(node), shlex.join(["dreamif", "bag", "replay", info.bag])]


def _decoding(cameras: CamerasInfo) -> Iterator[str]:
    for camera in Camera:
        encodings = ", then ".join(e.strip() for e in cameras.recorded[camera].encodings)
        kind = cameras.kinds[camera]
        if cameras.refusals[camera]:
            yield f"{camera} is refused: {cameras.refusals[camera]}"
        elif camera == Camera.INFRARED:
            yield f"infrared is {encodings}: {_INFRARED_KINDS[kind]}"
        else:
            colour = "in colour" if kind == "colour" else "gray, and so fused"
            yield f"visible is {encodings}: {colour}"


def _transport(cameras: CamerasInfo) -> Iterator[str]:
    if _is_mixed(cameras):
        raw, compressed = cameras.infrared.name, cameras.visible.name
        if _is_compressed(cameras.infrared):
            raw, compressed = compressed, raw
        yield (
            f"{compressed} is compressed and {raw} is not, but the parameter image_transport holds "
            "for both inputs: record both alike, or republish one (ros2 run image_transport "
            "republish)"
        )
    elif _is_compressed(cameras.infrared):
        yield "both are compressed: image_transport must be compressed, as below"


def _sizes(bag: str, cameras: CamerasInfo) -> Iterator[str]:
    sizes = cameras.topics.map(lambda topic: topic.images.sizes if topic.images else [])
    for camera, topic in cameras.topics.items():
        if any(width * height > MAX_MEGAPIXELS * 1e6 for width, height in sizes[camera]):
            yield f"{topic.name} is refused: above max_megapixels ({MAX_MEGAPIXELS:g})"
    if not all(width and height for camera in sizes for width, height in camera[:1] or [(0, 0)]):
        return
    infrared, visible = sizes.infrared[0], sizes.visible[0]
    if _is_double(infrared):
        half = infrared[1] // 2
        yield (
            f"infrared {_size(infrared)} looks like two pictures on each other, as a USB camera "
            "sends a picture above its temperatures: publish one of them alone, or set "
            f"thermal.crop to [0, {half}, 0, 0] for the upper, [{half}, 0, 0, 0] for the lower one"
        )
    calibrate = _calibrate(bag, cameras)
    if infrared == visible:
        yield (
            f"both are {_size(visible)}: pixel is laid on pixel; where the cameras do not see the "
            f"same view, set registration.file ({calibrate})"
        )
        return
    shapes = sorted(width / height for width, height in (infrared, visible))
    distorted = ", which distorts it" if shapes[1] > SAME_SHAPE * shapes[0] else ""
    yield (
        f"infrared {_size(infrared)} is resized to {_size(visible)}{distorted}, unless "
        f"registration.file is set ({calibrate})"
    )


def _is_double(size: tuple[int, int]) -> bool:
    """Whether a half of the height would be the shape of a thermal sensor."""
    width, height = size
    return any(1 <= height / (2 * width / shape) <= 1 + ROWS_BESIDE for shape in SENSOR_SHAPES)


def _calibrate(bag: str, cameras: CamerasInfo) -> str:
    """The command line that estimates how these two cameras lie."""
    command = ["dreamif", "calibrate", bag, "--out", "calibration.yaml"]
    names = cameras.topics.map(lambda topic: topic.name)
    if names != _TOPICS:
        command += ["--ir-topic", names.infrared, "--vi-topic", names.visible]
    return shlex.join(command)


def _quality_of_service(info: BagInfo, cameras: CamerasInfo) -> Iterator[str]:
    for topic in cameras.topics:
        if "best_effort" in topic.reliability:
            yield f"{topic.name} was recorded best effort: what was lost then is not in the bag"
    if _info_name(cameras.visible) not in _recorded_infos(info):
        yield "no camera_info of the visible camera: fused/camera_info is not published"
    yield "`dreamif bag replay` publishes reliable, and the node follows: no QoS to set"


def _is_compressed(topic: TopicInfo) -> bool:
    return topic.type_name == COMPRESSED_IMAGE


def _is_mixed(cameras: CamerasInfo) -> bool:
    return _is_compressed(cameras.infrared) != _is_compressed(cameras.visible)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _image_remaps(camera: Camera, topic: TopicInfo) -> Iterator[str]:
    """The node appends the transport to the remapped name: see node/transport.py."""
    default = _TOPICS[camera]
    if not _is_compressed(topic):
        if topic.name != default:
            yield f"{camera}/image_raw:={topic.name}"
    elif not topic.name.endswith(COMPRESSED):
        yield f"{default}{COMPRESSED}:={topic.name}"
    elif topic.name != default + COMPRESSED:
        yield f"{camera}/image_raw:={topic.name.removesuffix(COMPRESSED)}"


def _info_remaps(info: BagInfo, camera: Camera, topic: TopicInfo) -> Iterator[str]:
    name = _info_name(topic)
    if name in _recorded_infos(info) and name != f"/{camera}/camera_info":
        yield f"{camera}/camera_info:={name}"


def _recorded_infos(info: BagInfo) -> set[str]:
    return {topic.name for topic in info.topics if topic.type_name == CAMERA_INFO}


def _info_name(image: TopicInfo) -> str:
    return info_topic(Topic(image.name, image.type_name)).name
