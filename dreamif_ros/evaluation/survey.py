"""What a bag holds of both cameras, without decoding the images: rhythm, gaps, freezes, pairs."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from operator import sub
from statistics import median

from dreamif_model.errors import ImageError
from dreamif_ros.bag.pairs import CAMERAS, Pairer, Pairing, RecordedImage
from dreamif_ros.bag.storage import Topic
from dreamif_ros.bag.topics import encoding_of
from dreamif_ros.evaluation.results import Camera, Spell
from dreamif_ros.stamps import NANOSECONDS

LEAST_SPELL_S = 0.25  # of a gap or a freeze that is told
GAP_PERIODS = 3.0
LEAST_JUMP_S = 1.0  # of the stamps against the time of recording
WAITING = "unfinished"  # reason: still waited for a partner when the recording ended
REFUSED = "refused"  # reason: a pair of which one message is no image that can be fused


@dataclass
class CameraSurvey:
    """What is found of one camera, message by message."""

    topic: Topic
    start_ns: int
    encodings: dict[str, None] = field(default_factory=dict)  # in order of appearance
    size: tuple[int, int] | None = None
    unstamped: int = 0
    disordered: int = 0
    damaged: int = 0
    refused: int = 0
    refusal: str = ""
    recorded_ns: array[int] = field(default_factory=lambda: array("q"))
    stamps_ns: array[int] = field(default_factory=lambda: array("q"))
    freezes: list[Spell] = field(default_factory=list)
    _picture: bytes = b""
    _shown_ns: int = 0  # since when it is shown

    def add(self, image: RecordedImage) -> None:
        """Take the next message."""
        if image.message is None:
            self.damaged += 1
            self.refuse(image.refusal)
            return
        self.unstamped += not image.header_ns
        self.disordered += bool(self.stamps_ns) and image.stamp_ns < self.stamps_ns[-1]
        self.encodings.setdefault(encoding_of(image.message))
        self._watch_picture(image)
        self.recorded_ns.append(image.recorded_ns)
        self.stamps_ns.append(image.stamp_ns)
        if self.size is None:
            self._measure(image)

    def refuse(self, reason: str) -> None:
        """Count a message that is no image that can be fused."""
        self.refused += 1
        self.refusal = self.refusal or reason

    def result(self) -> Camera:
        """All of it."""
        self._end_freeze()
        return Camera(
            topic=self.topic.name,
            type_name=self.topic.type_name,
            encodings=tuple(self.encodings),
            size=self.size,
            messages=len(self.recorded_ns),
            rate_hz=_rate(self.stamps_ns),
            first_s=self._since(self.recorded_ns[0]) if self.recorded_ns else 0.0,
            last_s=self._since(self.recorded_ns[-1]) if self.recorded_ns else 0.0,
            unstamped=self.unstamped,
            disordered=self.disordered,
            damaged=self.damaged,
            refused=self.refused,
            refusal=self.refusal,
            gaps=tuple(self._gaps()),
            freezes=tuple(self.freezes),
            jumps=tuple(self._jumps()),
        )

    def _since(self, time_ns: int) -> float:
        return (time_ns - self.start_ns) / NANOSECONDS

    def _watch_picture(self, image: RecordedImage) -> None:
        picture = bytes(image.message.data)
        if picture != self._picture or not picture:
            self._end_freeze()
            self._picture, self._shown_ns = picture, image.recorded_ns

    def _end_freeze(self) -> None:
        """Note how long the last picture was repeated."""
        if not self._picture or not self.recorded_ns:
            return
        seconds = (self.recorded_ns[-1] - self._shown_ns) / NANOSECONDS
        if seconds >= LEAST_SPELL_S:
            self.freezes.append(Spell(self._since(self._shown_ns), seconds))
        self._picture = b""

    def _measure(self, image: RecordedImage) -> None:
        try:
            height, width = image.decode().shape[:2]
        except ImageError:
            return  # counted when its pair is to be fused
        self.size = width, height

    def _gaps(self) -> Iterator[Spell]:
        times = self.recorded_ns
        intervals = [after - before for before, after in pairwise(times)]
        if not intervals:
            return
        limit_ns = max(GAP_PERIODS * median(intervals), LEAST_SPELL_S * NANOSECONDS)
        for before, interval in zip(times, intervals, strict=False):
            if interval > limit_ns:
                yield Spell(self._since(before), interval / NANOSECONDS)

    def _jumps(self) -> Iterator[Spell]:
        delays = map(sub, self.stamps_ns, self.recorded_ns)
        for now, (before, after) in zip(self.recorded_ns[1:], pairwise(delays), strict=True):
            if abs(after - before) >= LEAST_JUMP_S * NANOSECONDS:
                yield Spell(self._since(now), (after - before) / NANOSECONDS)


@dataclass
class Survey:
    """Of both cameras and their pairs.

    drops: messages without a partner, by reason. events: what happened in each second, by name
    of camera or reason of drop.
    """

    infrared: CameraSurvey
    visible: CameraSurvey
    pairs: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[str, int]] = field(default_factory=Counter)
    jumps: int = 0  # times that the stamps went back


def survey(
    images: Iterator[RecordedImage], topics: tuple[Topic, Topic], pairing: Pairing, start_ns: int
) -> Survey:
    """Read every message once."""
    found = Survey(CameraSurvey(topics[0], start_ns), CameraSurvey(topics[1], start_ns))
    cameras = found.infrared, found.visible
    pairer = Pairer(pairing)
    second = 0
    for image in images:
        second = max(0, int((image.recorded_ns - start_ns) // NANOSECONDS))
        cameras[image.camera].add(image)
        if image.message is None:
            continue
        found.events[CAMERAS[image.camera], second] += 1
        # Pixels that wait for a partner would only cost memory.
        light = RecordedImage(image.camera, image.recorded_ns, image.header_ns, None)
        found.pairs += len(pairer.add(light))
        _note_drops(found, _reasons(pairer), second)
    _note_drops(found, _reasons(pairer) | {WAITING: sum(pairer.synchronizer.waiting)}, second)
    found.jumps = pairer.synchronizer.counts.jumps
    return found


def _reasons(pairer: Pairer) -> dict[str, int]:
    counts = asdict(pairer.synchronizer.counts)
    return {name: count for name, count in counts.items() if name not in ("paired", "jumps")}


def _note_drops(found: Survey, counts: dict[str, int], second: int) -> None:
    for reason, count in counts.items():
        if count > found.drops[reason]:
            found.events[reason, second] += count - found.drops[reason]
            found.drops[reason] = count


def _rate(stamps_ns: array[int]) -> float:
    """By the median distance of two stamps, in Hz; 0 where there is none."""
    ordered = sorted(stamps_ns)
    intervals = [after - before for before, after in pairwise(ordered)]
    middle = median(intervals) if intervals else 0
    return NANOSECONDS / middle if middle > 0 else 0.0
