"""What the worker's thread does with one moment: decode, choose, fuse, publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dreamif_model import FusionPipeline, FusionResult, ImageError
from dreamif_model.blank import is_blank
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.health import CameraWatch, FusionMode, Severity, choose_mode, severity
from dreamif_ros.fusion.outputs import Outputs
from dreamif_ros.images import codec
from dreamif_ros.node.accounting import NANOSECONDS, record_age, survive
from dreamif_ros.node.statistics import Statistics

CAMERAS = ("infrared", "visible")
SCORE_PERIOD_S = 1.0  # between two frames whose alignment is judged
Images = dict[str, NDArray[Any]]
_DECODE: dict[str, Callable[[codec.ImageMessage, float], NDArray[Any]]] = {
    "infrared": codec.decode_infrared,
    "visible": codec.decode_visible,
}


@dataclass
class Frame:
    """One message of a camera."""

    message: codec.ImageMessage
    stamp_ns: int  # on the clock that both cameras share: its offset is added
    arrived_s: float  # of time.monotonic()
    used_alone: bool = False  # published without a partner: none is wanted any more


@dataclass(frozen=True)
class Moment:
    """What is fused: a pair, or one camera's frame while the other has none."""

    infrared: Frame | None = None
    visible: Frame | None = None

    def frames(self) -> dict[str, Frame]:
        """Those there are, by camera."""
        both = {"infrared": self.infrared, "visible": self.visible}
        return {name: frame for name, frame in both.items() if frame}


@dataclass
class VisibleCamera:
    """What is known of it while it is silent: infrared alone is published in its place."""

    info: CameraInfo | None = None
    shape: tuple[int, int] | None = None
    frame_id: str = ""


class Listener(Protocol):
    """Who takes fused images in memory."""

    def listen_to(self, topic: str) -> None:
        """Said once, before the first image: the topic, resolved, that has the same images."""

    def wants_fused(self) -> bool:
        """Whether it has a use for the next one; asked for each, in the worker's thread."""

    def take_fused(self, result: FusionResult, header: Header) -> None:
        """Take one that it wanted, in the worker's thread; returns at once."""


class Fuser:
    """Turns moments into published images.

    values: those of FUSION_PARAMETERS, replaced as a whole when one changes. visible: what is
    known of that camera. alignment: of the edges in [-1, 1], as last judged.
    """

    def __init__(
        self,
        node: Node,
        pipeline: FusionPipeline,
        outputs: Outputs,
        infos: CameraInfos,
        values: dict[str, Any],
        listener: Listener | None = None,
    ) -> None:
        self._node, self._pipeline, self._outputs, self._infos = node, pipeline, outputs, infos
        self.values, self._listener = values, listener
        codec.use_one_thread()
        self.statistics = Statistics()
        self.watches = {name: CameraWatch(time.monotonic()) for name in CAMERAS}
        self.visible = VisibleCamera()
        self.alignment: float | None = None
        self._scored_s = 0.0

    def process(self, moment: Moment) -> None:
        """Fuse one moment; what cannot be fused is named and counted."""
        survive(self._node, self.statistics, "fusion", partial(self._fuse, moment))

    def _fuse(self, moment: Moment) -> None:
        started = time.perf_counter()
        waited_s = time.monotonic() - max(frame.arrived_s for frame in moment.frames().values())
        images = self._decode(moment)
        decoded = time.perf_counter()
        listener = self._listener if self._listener and self._listener.wants_fused() else None
        if not listener and not self._outputs.wanted():
            self.statistics.count("unwatched")
            self._accept(images)
            return
        result = self._result(images)
        if result is None:  # no image is left; why was said of each camera
            self.statistics.count("refused")
            return
        header = self._header(moment)
        if listener:
            listener.take_fused(result, header)
        seconds = self._outputs.publish(
            result, header, self.visible.info, self.values["jpeg_quality"]
        )
        self.statistics.count("published")
        self.statistics.add_latencies(
            {"wait": waited_s, "decode": decoded - started, **result.timings, **seconds}
        )
        if result.alignment is not None:
            self.alignment = result.alignment
        record_age(self._node, self.statistics, header.stamp)

    def _decode(self, moment: Moment) -> Images:
        """The images of those messages that hold one."""
        images = {}
        for camera, frame in moment.frames().items():
            try:
                image = _DECODE[camera](frame.message, self.values["max_megapixels"])
            except ImageError as error:
                self.refuse(camera, str(error))
                continue
            self.watches[camera].seen(time.monotonic(), is_blank(image))
            images[camera] = image
        if "visible" in images and moment.visible:
            self.visible.shape = images["visible"].shape[:2]
            self.visible.frame_id = moment.visible.message.header.frame_id
        return images

    def refuse(self, camera: str, reason: str) -> None:
        """Count, log and remember that a camera's images cannot be used."""
        self.statistics.count(f"{camera} refused")
        self.watches[camera].refused(reason)
        self._node.get_logger().error(f"{camera}: {reason}", throttle_duration_sec=1.0)

    def _result(self, images: Images) -> FusionResult | None:
        """Of what there is, the better; None where there is nothing."""
        mode = choose_mode(*(self._severity(camera, images) for camera in CAMERAS))
        if mode is FusionMode.FUSED:
            return self._fused(images)
        self._accept(images)
        if mode is FusionMode.VISIBLE_ONLY:
            return self._pipeline.visible_alone(images["visible"])
        if mode is FusionMode.INFRARED_ONLY:
            return self._pipeline.infrared_alone(images["infrared"], self.visible.shape)
        return None

    def _accept(self, images: Images) -> None:
        for camera in images:
            self.watches[camera].accepted()

    def _severity(self, camera: str, images: Images) -> Severity:
        if camera not in images:
            return Severity.UNUSABLE
        return severity(self.watches[camera].doubt(time.monotonic()))

    def _fused(self, images: Images) -> FusionResult:
        """Both, or the visible image where they do not fit each other."""
        score = time.monotonic() - self._scored_s >= SCORE_PERIOD_S
        try:
            if self._infos.fault:
                raise ImageError(self._infos.fault)
            result = self._pipeline.fuse(**images, score_alignment=score)
        except ImageError as error:
            self.refuse("infrared", str(error))
            return self._pipeline.visible_alone(images["visible"])
        self._accept(images)
        if score:
            self._scored_s = time.monotonic()
        return result

    def _header(self, moment: Moment) -> Header:
        """The visible message's; without one, infrared's on the visible camera's clock."""
        if moment.visible:
            header: Header = moment.visible.message.header
            return header
        assert moment.infrared  # a moment is of one camera at least
        own = moment.infrared.message.header.frame_id
        header = Header(frame_id=self.visible.frame_id or own)
        offset_ns = round(self.values["sync.visible_offset_s"] * NANOSECONDS)
        stamp_ns = moment.infrared.stamp_ns - offset_ns
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NANOSECONDS)
        return header
