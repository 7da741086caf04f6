"""What a recording holds, without fusing it: rates, gaps, freezes, and the pairs of both cameras.

This is the only code that describes a recording: `dreamif bag info` and `dreamif bag evaluate` tell
its numbers. The definitions:

- stamp: of the header; where that is zero, the time of recording.
- rate: 1 / median distance of two stamps; of messages other than images, of two times of recording.
- gap: no message is recorded for more than MIN_SPELL_S and GAP_PERIODS median distances.
- freeze: one picture is repeated for MIN_SPELL_S or longer, and the other camera's picture changes
  meanwhile: a scene that stands still is repeated too, where a camera has no noise.
- skew: infrared minus visible stamp of a pair, offsets added. Pairs are those of the fusion node.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import merge
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both, Camera
from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.bag.recorded_pairs import (
    MAX_OFFSET_S,
    Pairer,
    PairingOptions,
    RecordedImage,
    read_image,
)
from dreamif_ros.bag.storage import BagMessage, Topic, printable
from dreamif_ros.codec.decode import DECODERS, decode, encoding_of
from dreamif_ros.evaluation.evaluation_results import CameraRecord, PairingSummary, Recorded, Spell
from dreamif_ros.evaluation.picture_change import changed_clearly
from dreamif_ros.stamps import NANOSECONDS, to_seconds

MIN_SPELL_S = 0.25  # of a gap or a freeze
GAP_PERIODS = 3.0
MIN_JUMP_S = 1.0  # of the stamps, compared with the time of recording
# Reasons for which a message is in no pair, or a pair is not fused.
UNPAIRED = {
    "no_partner": "no partner",
    "too_old": "too old",
    "duplicate": "duplicate stamp",
    "cleared": "time set back",
}
WAITING = "waiting at the end"
REFUSED = "refused"  # a pair of which one message is no image that can be fused


class TopicSurvey:
    """What is found of one topic, message by message."""

    def __init__(self, topic: Topic, start_ns: int) -> None:
        self.topic, self._start_ns = topic, start_ns
        self.bytes = self.damaged = 0
        self.recorded_ns: array[int] = array("q")  # of the messages that can be read

    def add(self, message: BagMessage) -> None:
        """Take the next message."""
        self.bytes += len(message.data)
        self.recorded_ns.append(message.timestamp_ns)

    @property
    def messages(self) -> int:
        """Messages, whether they can be read or not."""
        return len(self.recorded_ns) + self.damaged

    @property
    def first_s(self) -> float:
        """When the first message was recorded, in seconds since the bag's first message."""
        return self._since(min(self.recorded_ns)) if self.recorded_ns else 0.0

    @property
    def last_s(self) -> float:
        """When the last message was recorded, in seconds since the bag's first message."""
        return self._since(max(self.recorded_ns)) if self.recorded_ns else 0.0

    @property
    def rate_hz(self) -> float:
        """See the definition above; 0 below two messages."""
        return _rate(self.recorded_ns)

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two messages, whether it counts as a gap or not."""
        return to_seconds(max(_distances(self.recorded_ns), default=0))

    def gaps(self) -> tuple[Spell, ...]:
        """See the definition above."""
        distances = _distances(self.recorded_ns)
        if not distances:
            return ()
        limit_ns = max(GAP_PERIODS * median(distances), MIN_SPELL_S * NANOSECONDS)
        return tuple(
            Spell(self._since(before), to_seconds(distance))
            for before, distance in zip(sorted(self.recorded_ns), distances, strict=False)
            if distance > limit_ns
        )

    def _since(self, time_ns: int) -> float:
        return to_seconds(time_ns - self._start_ns)


class ImageSurvey(TopicSurvey):
    """What is found of a topic of images.

    Attributes:
        camera: that publishes them; None for images of neither camera.
        encodings: in the order in which they appear.
        sizes: (width, height) that messages claim, in that order; compressed images claim none.
        size: of the first image that could be decoded.
        first: type and shape of the first message's image; empty where it cannot be decoded.
        first_refusal: why it cannot be decoded.
        kind: what the node makes of it: uint8, uint16, float32, colour.
        node_refusal: why the node refuses it.
        remarks: what is wrong with it as a thermal image.
        refused: messages that are no image that can be fused, the damaged ones among them.
    """

    def __init__(self, topic: Topic, start_ns: int, camera: Camera | None = None) -> None:
        super().__init__(topic, start_ns)
        self.camera = camera
        self.headers_ns: array[int] = array("q")  # stamps of the headers, 0 where there is none
        self.encodings: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.size: tuple[int, int] | None = None
        self.frame_id = self.first = self.first_refusal = self.kind = ""
        self.node_refusal = "none of its messages can be read"
        self.unstamped = self.disordered = self.sizes_changed = self.refused = 0
        self.refusal = ""
        self._claimed: tuple[int, int] | None = None
        self._freezes: list[Spell] = []
        self._picture, self._shown_ns = b"", 0  # the last picture, and since when it is shown
        self.remarks: tuple[str, ...] = ()
        self.other: ImageSurvey | None = None  # the other camera
        self._last: RecordedImage | None = None
        self._beside: RecordedImage | None = None  # of the other camera when the picture came
        self._newest_ns = 0  # the last stamp of a header

    def add(self, message: BagMessage) -> None:
        """Take the next message."""
        self.add_image(message)

    def add_image(self, message: BagMessage) -> RecordedImage | None:
        """Take the next message; None where it cannot be read."""
        image = read_image(message, self.camera or Camera.VISIBLE)
        if image.message is None:
            self.damaged += 1
            self.refuse(image.refusal)
            return None
        self._watch_picture(image)
        self._last = image
        super().add(message)
        self.headers_ns.append(image.header_ns)
        self._watch_stamp(image.header_ns)
        if not self.encodings:
            self._look_at_first(image.message)
        encoding = printable(encoding_of(image.message))
        if encoding not in self.encodings:
            self.encodings.append(encoding)
        self._watch_size(image.message)
        return image

    def refuse(self, reason: str) -> None:
        """Count a message that is no image that can be fused."""
        self.refused += 1
        self.refusal = self.refusal or printable(reason)

    @property
    def stamps_ns(self) -> Iterator[int]:
        """Stamps in the order of recording."""
        pairs = zip(self.headers_ns, self.recorded_ns, strict=True)
        return (header or recorded for header, recorded in pairs)

    @property
    def rate_hz(self) -> float:
        """See the definition above; 0 below two messages."""
        return _rate(self.stamps_ns)

    def record(self) -> CameraRecord:
        """All of it."""
        self._end_freeze()
        return CameraRecord(
            topic=self.topic.name,
            type_name=self.topic.type_name,
            encodings=tuple(self.encodings),
            size=self.size,
            messages=len(self.recorded_ns),
            rate_hz=self.rate_hz,
            first_s=self.first_s,
            last_s=self.last_s,
            unstamped=self.unstamped,
            disordered=self.disordered,
            damaged=self.damaged,
            refused=self.refused,
            refusal=self.refusal,
            gaps=self.gaps(),
            freezes=tuple(self._freezes),
            jumps=tuple(self._jumps()),
            sizes_changed=self.sizes_changed,
        )

    def _watch_picture(self, image: RecordedImage) -> None:
        picture = bytes(image.message.data)
        if picture != self._picture or not picture:
            self._end_freeze()
            self._picture, self._shown_ns, self._beside = picture, image.recorded_ns, None
        if self.other and self._beside is None:
            self._beside = self.other._last

    def _end_freeze(self) -> None:
        """Note how long the last picture was repeated, where that is a freeze."""
        if not self._picture or not self.recorded_ns:
            return
        seconds = to_seconds(self.recorded_ns[-1] - self._shown_ns)
        now = self.other._last if self.other else None
        if seconds >= MIN_SPELL_S and self._beside and now and changed_clearly(self._beside, now):
            self._freezes.append(Spell(self._since(self._shown_ns), seconds))
        self._picture = b""

    def _watch_stamp(self, header_ns: int) -> None:
        if not header_ns:
            self.unstamped += 1
            return
        self.disordered += header_ns < self._newest_ns
        self._newest_ns = header_ns

    def _watch_size(self, message: Any) -> None:
        if hasattr(message, "width"):
            claimed = int(message.width), int(message.height)
            self.sizes_changed += self._claimed not in (None, claimed)
            self._claimed = claimed
            if claimed not in self.sizes:
                self.sizes.append(claimed)
        if self.size is None:
            try:
                height, width = decode(message).shape[:2]
            except ImageError:
                return  # counted when its pair is to be fused
            self.size = width, height

    def _look_at_first(self, message: Any) -> None:
        self.frame_id = printable(message.header.frame_id)
        try:
            image = decode(message)
        except ImageError as error:
            self.first_refusal = self.node_refusal = printable(str(error))
            return
        self.first = f"{image.dtype} {' × '.join(map(str, image.shape))}"
        self.kind = "colour" if image.ndim == 3 else str(image.dtype)
        self.node_refusal = ""
        if self.camera:
            try:
                self._look_as_node(DECODERS[self.camera](message))
            except ImageError as error:
                self.kind, self.node_refusal = "", printable(str(error))

    def _look_as_node(self, image: NDArray[Any]) -> None:
        if self.camera == Camera.INFRARED:
            normalizer = ThermalNormalizer()
            normalizer.normalize(image)
            self.remarks = normalizer.remarks

    def _jumps(self) -> Iterator[Spell]:
        stamps = zip(self.stamps_ns, self.recorded_ns, strict=True)
        delays = (stamp - recorded for stamp, recorded in stamps)
        for now, (before, after) in zip(self.recorded_ns[1:], pairwise(delays), strict=True):
            if abs(after - before) >= MIN_JUMP_S * NANOSECONDS:
                yield Spell(self._since(now), to_seconds(after - before))


class CamerasSurvey:
    """What is found of both cameras and their pairs, message by message.

    Attributes:
        cameras: what is found of each.
        tally: the pairs, and the messages in no pair by reason.
        events: how many times something happened in each second, by the name of a camera or the
            reason of a drop.
    """

    def __init__(self, topics: Both[Topic], options: PairingOptions, start_ns: int) -> None:
        self.cameras = Both.make(lambda camera: ImageSurvey(topics[camera], start_ns, camera))
        for camera, survey in self.cameras.items():
            survey.other = self.cameras[camera.other]
        self.tally = PairTally(options)
        self.events: Counter[tuple[str, int]] = Counter()
        self._options, self._start_ns = options, start_ns
        self._by_topic = {topic.key: self.cameras[camera] for camera, topic in topics.items()}
        self._second = 0

    def of(self, topic: Topic) -> ImageSurvey | None:
        """What is found of a topic; None where it is of neither camera."""
        return self._by_topic.get(topic.key)

    def add(self, message: BagMessage) -> None:
        """Take the next message of one of the cameras."""
        self._second = self.second_of(message.timestamp_ns)
        image = self._by_topic[message.key].add_image(message)
        if image is None:
            return
        self.events[image.camera.value, self._second] += 1
        # Pixels that wait for a partner would only cost memory.
        self.tally.add(RecordedImage(image.camera, image.recorded_ns, image.header_ns, None))
        self._note_drops()

    def finish(self) -> None:
        """Count what still waits for a partner."""
        self.tally.finish()
        self._note_drops()

    def second_of(self, recorded_ns: int) -> int:
        """The second of the recording, 0 or more."""
        return max(0, (recorded_ns - self._start_ns) // NANOSECONDS)

    def refuse_pair(self, recorded_ns: int) -> None:
        """Count a pair that cannot be fused."""
        self.tally.unpaired[REFUSED] += 1
        self.events[REFUSED, self.second_of(recorded_ns)] += 1

    def recorded(self) -> Recorded:
        """All of it."""
        offset_s = self._clock_offset_s()
        return Recorded(
            self.cameras.map(ImageSurvey.record),
            self.tally.summary(),
            offset_s,
            None if offset_s is None else self._paired_with(offset_s),
        )

    def _paired_with(self, offset_s: float) -> PairingSummary | None:
        """The pairs with this offset; None where there are no more than with the present one."""
        options = self._options
        applied_s = options.infrared_offset_s - options.visible_offset_s
        if abs(offset_s) > MAX_OFFSET_S or abs(offset_s - applied_s) <= options.slop_s:
            return None
        options = replace(options, infrared_offset_s=offset_s, visible_offset_s=0.0)
        found = pair_all(self._arrivals(), options)
        return found if found.pairs > self.tally.pairs else None

    def _arrivals(self) -> Iterator[RecordedImage]:
        """The messages of both cameras in the order of recording, without pixels."""

        def of(survey: ImageSurvey, camera: Camera) -> Iterator[RecordedImage]:
            pairs = zip(survey.recorded_ns, survey.headers_ns, strict=True)
            return (RecordedImage(camera, recorded, header, None) for recorded, header in pairs)

        both = [of(survey, camera) for camera, survey in self.cameras.items()]
        return merge(*both, key=lambda image: image.recorded_ns)

    def _clock_offset_s(self) -> float | None:
        """How much longer infrared messages took from stamp to recording than visible ones."""
        delays = self.cameras.map(
            lambda camera: [
                recorded - header
                for recorded, header in zip(camera.recorded_ns, camera.headers_ns, strict=True)
                if header
            ]
        )
        if not (delays.infrared and delays.visible):
            return None
        return (median(delays.infrared) - median(delays.visible)) / NANOSECONDS

    def _note_drops(self) -> None:
        for reason, count in self.tally.new_drops().items():
            self.events[reason, self._second] += count


class PairTally:
    """Pairs images as the fusion node does, and counts.

    Attributes:
        unpaired: messages in no pair, by reason; of pairs that cannot be fused, one for each.
        skews_ns: of the pairs.
    """

    def __init__(self, options: PairingOptions) -> None:
        self.unpaired: Counter[str] = Counter()
        self.skews_ns: array[int] = array("q")
        self._slop_s, self._pairer = options.slop_s, Pairer(options)
        self._new: Counter[str] = Counter()

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.skews_ns)

    def add(self, image: RecordedImage) -> None:
        """Take the next image."""
        self.skews_ns.extend(pair.skew_ns for pair in self._pairer.add(image))
        counts = self._pairer.synchronizer.counts
        for name, reason in UNPAIRED.items():
            self._drop(reason, getattr(counts, name) - self.unpaired[reason])

    def finish(self) -> None:
        """Count what still waits for a partner."""
        self._drop(WAITING, sum(self._pairer.synchronizer.waiting))

    def new_drops(self) -> Counter[str]:
        """Messages by the reason for which they are in no pair, since the last call."""
        new, self._new = self._new, Counter()
        return new

    def summary(self) -> PairingSummary:
        """All of it."""
        unpaired = {reason: count for reason, count in self.unpaired.items() if count}
        if not self.skews_ns:
            return PairingSummary(self._slop_s, 0, unpaired)
        skews_ms = np.array(self.skews_ns) / 1e6
        signed = np.percentile(skews_ms, (50, 5, 95))
        distances = np.percentile(np.abs(skews_ms), (50, 95, 100))
        return PairingSummary(
            self._slop_s, self.pairs, unpaired, *map(float, (*signed, *distances))
        )

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self.unpaired[reason] += count
            self._new[reason] += count


def pair_all(images: Iterable[RecordedImage], options: PairingOptions) -> PairingSummary:
    """The pairs of images in the order in which they come."""
    tally = PairTally(options)
    for image in images:
        tally.add(image)
    tally.finish()
    return tally.summary()


def _distances(times_ns: Iterable[int]) -> list[int]:
    return [after - before for before, after in pairwise(sorted(times_ns))]


def _rate(times_ns: Iterable[int]) -> float:
    distances = _distances(times_ns)
    middle = median(distances) if distances else 0
    return NANOSECONDS / middle if middle > 0 else 0.0
