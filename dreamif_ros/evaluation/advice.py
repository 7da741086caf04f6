"""What the fusion node would do with a bag, and what to do about it, in plain sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from dreamif_ros.bag.storage import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    INFRARED_TOPIC,
    VISIBLE_TOPIC,
    Topic,
)
from dreamif_ros.bag.topics import COMPRESSED, info_topic
from dreamif_ros.evaluation.info import INFRARED, VISIBLE, BagInfo, CameraPair, Pairing, TopicInfo
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS

DEFAULTS: dict[str, Any] = {parameter.name: parameter.default for parameter in FUSION_PARAMETERS}
FEW_PAIRS = 0.9  # share of the rarer camera's images, below which the rest is explained
CONSTANT_MS = 5.0  # least skew that is worth a word ...
CONSTANT_SHARE = 0.25  # ... when it varies by no more than this share of itself
LEAST_PAIRS = 10  # that tell a constant skew
SAME_SHAPE = 1.01  # ratio of two shapes (width to height) that count as one

_NAMES = {INFRARED: "infrared", VISIBLE: "visible"}
_INFRARED_KINDS = {
    "uint8": "8 bit, shown as it is",
    "uint16": "16-bit counts, shown by their 1st to 99.5th percentile, which follows slowly; "
    "thermal.mode: fixed holds the range still",
    "float32": "°C, shown by their 1st to 99.5th percentile, which follows slowly",
    "colour": "a colour palette, of which the luma is taken; a camera that can should publish "
    "mono16 or mono8",
}


def advise(info: BagInfo) -> list[str]:
    """One sentence each, what stops fusion first."""
    cameras = info.cameras
    if cameras is None:
        return [f"nothing can be fused: {info.no_cameras}"]
    return [
        *_decoding(cameras),
        *_transport(cameras),
        *_pairs(cameras),
        *_sizes(info.bag, cameras),
        *_stamps(cameras),
        *_gaps(cameras),
        *_others(info, cameras),
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
    remaps = [
        *_remaps("infrared", cameras.infrared, INFRARED_TOPIC),
        *_remaps("visible", cameras.visible, VISIBLE_TOPIC),
        *_info_remaps(info, cameras),
    ]
    for remap in remaps:
        arguments += ["-r", remap]
    node = ["fusion_node", *(["--ros-args", *arguments] if arguments else [])]
    return [shlex.join(node), shlex.join(["dreamif", "bag", "replay", info.bag])]


def _decoding(cameras: CameraPair) -> Iterator[str]:
    for side, topic in enumerate((cameras.infrared, cameras.visible)):
        images = topic.images
        if cameras.refusals[side]:
            yield f"{_NAMES[side]} is refused: {cameras.refusals[side]}"
        elif side == INFRARED:
            yield f"infrared is {_encodings(topic)}: {_INFRARED_KINDS[cameras.kinds[side]]}"
        else:
            colour = "in colour" if cameras.kinds[side] == "colour" else "gray, and so fused"
            yield f"visible is {_encodings(topic)}: {colour}"
        if images and images.damaged:
            yield f"damaged, and so refused: {_count(images.damaged, 'message')} of {topic.name}"


def _encodings(topic: TopicInfo) -> str:
    images = topic.images
    return ", then ".join(e.strip() for e in images.encodings) if images else "unknown"


def _transport(cameras: CameraPair) -> Iterator[str]:
    if _is_mixed(cameras):
        raw, compressed = cameras.infrared.name, cameras.visible.name
        if _is_compressed(cameras.infrared):
            raw, compressed = compressed, raw
        yield (
            f"{compressed} is compressed and {raw} is not, but image_transport is of both inputs: "
            "record both alike, or republish one (ros2 run image_transport republish)"
        )
    elif _is_compressed(cameras.infrared):
        yield "both are compressed: image_transport must be compressed, as below"


def _pairs(cameras: CameraPair) -> Iterator[str]:
    pairing, repaired = cameras.pairing, cameras.pairing_with_offset
    rarer = min(cameras.infrared.messages, cameras.visible.messages)
    if repaired and cameras.clock_offset_s is not None:
        offset_s = cameras.clock_offset_s
        yield (
            f"the clocks differ: infrared stamps are {abs(offset_s):.3f} s "
            f"{'behind' if offset_s > 0 else 'ahead'}, by when images were recorded; with "
            f"sync.infrared_offset_s at {offset_s:.3f} there are {repaired.pairs} pairs"
        )
    elif pairing.pairs < FEW_PAIRS * rarer:
        yield (
            f"only {pairing.pairs} of {rarer} possible pairs: the other stamps find no partner "
            f"within {1000 * pairing.slop_s:g} ms (sync.slop_s), or come too late"
        )
    if _is_constant(pairing):
        yield (
            f"infrared is stamped {abs(pairing.skew_median_ms):.1f} ms "
            f"{'after' if pairing.skew_median_ms > 0 else 'before'} visible in nearly every pair: "
            "cameras that are not triggered together, or clocks that differ; `dreamif calibrate` "
            "tells which, by what moves"
        )


def _is_constant(pairing: Pairing) -> bool:
    skew_ms = abs(pairing.skew_median_ms)
    spread_ms = pairing.skew_p95_ms - pairing.skew_p5_ms
    enough = pairing.pairs >= LEAST_PAIRS and skew_ms >= CONSTANT_MS
    return enough and spread_ms <= CONSTANT_SHARE * skew_ms


def _sizes(bag: str, cameras: CameraPair) -> Iterator[str]:
    sizes = [topic.images.sizes if topic.images else [] for topic in _both(cameras)]
    for topic, of_topic in zip(_both(cameras), sizes, strict=True):
        if len(of_topic) > 1:
            yield f"{topic.name} changes its size: {', '.join(map(_size, of_topic))}"
        if any(w * h > DEFAULTS["max_megapixels"] * 1e6 for w, h in of_topic):
            yield f"{topic.name} is refused: above max_megapixels ({DEFAULTS['max_megapixels']:g})"
    if not all(sizes):
        return
    infrared, visible = sizes[INFRARED][0], sizes[VISIBLE][0]
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


def _calibrate(bag: str, cameras: CameraPair) -> str:
    """The command line that estimates how these two cameras lie."""
    command = ["dreamif", "calibrate", bag, "--out", "calibration.yaml"]
    if (cameras.infrared.name, cameras.visible.name) != (INFRARED_TOPIC, VISIBLE_TOPIC):
        command += ["--ir-topic", cameras.infrared.name, "--vi-topic", cameras.visible.name]
    return shlex.join(command)


def _stamps(cameras: CameraPair) -> Iterator[str]:
    for topic in _both(cameras):
        images = topic.images
        if images and images.unstamped:
            yield (
                f"without a stamp: {images.unstamped} of {topic.messages} images of {topic.name}; "
                "the node takes the time of arrival, here that of recording"
            )
        if images and images.disordered:
            yield (
                f"back in time: {_count(images.disordered, 'stamp')} of {topic.name}; images that "
                "come too late are dropped, and after more than 1 s pairing starts anew"
            )


def _gaps(cameras: CameraPair) -> Iterator[str]:
    for side, topic in enumerate(_both(cameras)):
        if topic.gaps:
            yield (
                f"{topic.name} has {_count(topic.gaps, 'gap')}, up to {topic.longest_gap_s:.2f} s: "
                f"meanwhile the {_NAMES[1 - side]} image is published alone"
            )
        if "best_effort" in topic.reliability:
            yield f"{topic.name} was recorded best effort: what was lost then is not in the bag"


def _others(info: BagInfo, cameras: CameraPair) -> Iterator[str]:
    if _info_name(cameras.visible) not in _recorded_infos(info):
        yield "no camera_info of the visible camera: fused/camera_info is not published"
    yield "`dreamif bag replay` publishes reliable, and the node follows: no QoS to set"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _both(cameras: CameraPair) -> tuple[TopicInfo, TopicInfo]:
    return cameras.infrared, cameras.visible


def _is_compressed(topic: TopicInfo) -> bool:
    return topic.type_name == COMPRESSED_IMAGE


def _is_mixed(cameras: CameraPair) -> bool:
    return _is_compressed(cameras.infrared) != _is_compressed(cameras.visible)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _remaps(camera: str, topic: TopicInfo, default: str) -> Iterator[str]:
    """As the node appends the transport to the remapped name: see node/transport.py."""
    if not _is_compressed(topic):
        if topic.name != default:
            yield f"{camera}/image_raw:={topic.name}"
    elif not topic.name.endswith(COMPRESSED):
        yield f"{default}{COMPRESSED}:={topic.name}"
    elif topic.name != default + COMPRESSED:
        yield f"{camera}/image_raw:={topic.name.removesuffix(COMPRESSED)}"


def _info_remaps(info: BagInfo, cameras: CameraPair) -> Iterator[str]:
    for camera, topic in zip(("infrared", "visible"), _both(cameras), strict=True):
        name = _info_name(topic)
        if name in _recorded_infos(info) and name != f"/{camera}/camera_info":
            yield f"{camera}/camera_info:={name}"


def _recorded_infos(info: BagInfo) -> set[str]:
    return {topic.name for topic in info.topics if topic.type_name == CAMERA_INFO}


def _info_name(image: TopicInfo) -> str:
    return info_topic(Topic(image.name, image.type_name)).name
