"""Whether a camera can be believed, and what to fuse when one cannot. Knows nothing of ROS.

A :class:`CameraWatch` is told of every message of its camera and names what is wrong with it;
:func:`choose_mode` turns what is wrong with either into a :class:`FusionMode`.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum
from statistics import median

LEAST_REPEATS = 3  # messages that tell a frozen or blank camera from a chance repetition
SLOW_PERIODS = 3.0  # a slow camera is silent after so many of its own periods
RHYTHM = 16  # recent intervals that tell a camera's period


class Severity(IntEnum):
    """How little a camera with a fault is worth."""

    NONE = 0
    DOUBTFUL = 1  # there are pictures, but they tell nothing new
    UNUSABLE = 2


FAULTS = {
    "silent": Severity.UNUSABLE,  # no messages
    "stale": Severity.UNUSABLE,  # messages whose stamps stand still, or meet no partner
    "broken": Severity.UNUSABLE,  # messages that are no image
    "frozen": Severity.DOUBTFUL,  # the same picture over and over: a thermal shutter
    "blank": Severity.DOUBTFUL,  # one gray level everywhere: a cap on the lens
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a camera: one of :data:`FAULTS`, and words for people."""

    kind: str
    text: str


class FusionMode(str, Enum):
    """What the fused image is made of; the text of the topic ``fusion_mode``."""

    FUSED = "fused"
    VISIBLE_ONLY = "visible_only"
    INFRARED_ONLY = "infrared_only"
    NONE = "none"  # neither camera gives an image


def find_faults(
    infrared: CameraWatch, visible: CameraWatch, now_s: float
) -> tuple[Fault | None, Fault | None]:
    """What is wrong with the infrared and with the visible camera now.

    Where both send but no pairs are made, the infrared stamps are to blame: the fused image is
    the visible camera's, with its header. Unless one camera's stamps stand still: it is to blame.
    """
    of_infrared, of_visible = infrared.fault(now_s), visible.fault(now_s)
    both = (infrared, visible)
    pairs_are_due = all(watch.is_heard(now_s) and not watch.stands_still() for watch in both)
    if pairs_are_due and all(watch.lacks_partners(now_s) for watch in both):
        ahead_s = infrared.ahead_of(visible)
        of_infrared = Fault(
            "stale",
            f"its stamps are {abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} the "
            "visible camera's: see sync.slop_s and sync.infrared_offset_s",
        )
    return of_infrared, of_visible


def choose_mode(infrared: Severity, visible: Severity) -> FusionMode:
    """Fuse equals; of two unequal cameras only the better one is believed.

    Two doubtful cameras are fused: there is nothing better, and a test bench that repeats one
    pair is no fault.
    """
    if infrared == visible:
        return FusionMode.NONE if visible == Severity.UNUSABLE else FusionMode.FUSED
    return FusionMode.VISIBLE_ONLY if visible < infrared else FusionMode.INFRARED_ONLY


def severity(fault: Fault | None) -> Severity:
    """Of a fault, or of none."""
    return FAULTS[fault.kind] if fault else Severity.NONE


@dataclass(frozen=True)
class HealthConfig:
    """Limits in seconds; 0 switches a check off.

    timeout_s: without a message, or with messages that no partner is found for, for so long (or
    for three of the camera's own periods) a camera is silent or stale. frozen_s: with the same
    picture for so long it is frozen. blank_s: with one gray level for so long it is blank.
    """

    timeout_s: float = 0.5
    frozen_s: float = 0.5
    blank_s: float = 0.5


class _Run:
    """Since when, and for how many messages in a row, something has been so."""

    def __init__(self) -> None:
        self.since_s, self.length = 0.0, 0

    def tell(self, so: bool, now_s: float) -> None:
        if not so:
            self.length = 0
        elif not self.length:
            self.since_s = now_s
        self.length += so

    def lasts(self, now_s: float, limit_s: float) -> bool:
        return 0 < limit_s <= now_s - self.since_s and self.length >= LEAST_REPEATS


class CameraWatch:
    """Watches one camera. Times are seconds of one steady clock. Safe to use from two threads."""

    def __init__(self, started_s: float, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self._lock = threading.Lock()
        self._started_s = self._paired_s = started_s
        self._received_s: float | None = None
        self._intervals: deque[float] = deque(maxlen=RHYTHM)
        self._content: object = None
        self._stamp_ns: int | None = None
        self._ahead_s = 0.0  # of the newest stamp before the moment it came
        self._same_picture, self._same_stamp, self._blank = _Run(), _Run(), _Run()
        self._refusal = ""

    def received(self, now_s: float, stamp_ns: int, content: object) -> None:
        """A message came; ``content`` are its bytes, compared with those before."""
        with self._lock:
            if self._received_s is None or self._is_silent(now_s):
                self._paired_s = now_s  # a camera that comes is given time to find partners
            if self._received_s is not None:
                self._intervals.append(now_s - self._received_s)
            self._received_s = now_s
            self._ahead_s = stamp_ns / 1e9 - now_s
            self._same_picture.tell(content == self._content, now_s)
            self._same_stamp.tell(stamp_ns == self._stamp_ns, now_s)
            self._content, self._stamp_ns = content, stamp_ns

    def paired(self, now_s: float) -> None:
        """One of its messages found a partner."""
        with self._lock:
            self._paired_s = now_s

    def seen(self, now_s: float, blank: bool) -> None:
        """A message was an image; ``blank``: of one gray level everywhere."""
        with self._lock:
            self._blank.tell(blank, now_s)

    def accepted(self) -> None:
        """An image could be used."""
        with self._lock:
            self._refusal = ""

    def refused(self, reason: str) -> None:
        """A message was no image, or none that can be fused."""
        with self._lock:
            self._refusal = reason

    def is_heard(self, now_s: float) -> bool:
        """Whether messages come at all."""
        with self._lock:
            return not self._is_silent(now_s)

    def unheard_s(self, now_s: float) -> float:
        """How long its first message has been waited for; 0 once it came."""
        return now_s - self._started_s if self._received_s is None else 0.0

    def fault(self, now_s: float) -> Fault | None:
        """What is wrong with the camera now, the worst first."""
        with self._lock:
            if self._is_silent(now_s):
                return Fault("silent", self._silence(now_s))
            if self._refusal:
                return Fault("broken", self._refusal)
            if self._same_stamp.lasts(now_s, self._patience_s()):
                return Fault("stale", "its stamps stand still")
            return self._doubt(now_s)

    def doubt(self, now_s: float) -> Fault | None:
        """What is wrong with its pictures, whether or not they come."""
        with self._lock:
            return self._doubt(now_s)

    def lacks_partners(self, now_s: float) -> bool:
        """Whether its messages have found no partner for too long."""
        with self._lock:
            return 0 < self._patience_s() < now_s - self._paired_s

    def stands_still(self) -> bool:
        """Whether its newest stamps are one and the same, for however short a time."""
        with self._lock:
            return self._same_stamp.length >= LEAST_REPEATS

    def ahead_of(self, other: CameraWatch) -> float:
        """Seconds that its stamps are ahead of the other camera's, by when both came."""
        return self._ahead_s - other._ahead_s

    def _doubt(self, now_s: float) -> Fault | None:
        if self._same_picture.lasts(now_s, self.config.frozen_s):
            return Fault("frozen", "it repeats one picture")
        if self._blank.lasts(now_s, self.config.blank_s):
            return Fault("blank", "it shows one gray level everywhere")
        return None

    def _is_silent(self, now_s: float) -> bool:
        last_s = self._started_s if self._received_s is None else self._received_s
        return 0 < self._patience_s() < now_s - last_s

    def _silence(self, now_s: float) -> str:
        if self._received_s is None:
            return "no image has come yet"
        return f"no image for {now_s - self._received_s:.1f} s"

    def _patience_s(self) -> float:
        if not self.config.timeout_s or len(self._intervals) < LEAST_REPEATS:
            return self.config.timeout_s
        return max(self.config.timeout_s, SLOW_PERIODS * median(self._intervals))
