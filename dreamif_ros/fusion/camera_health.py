"""Whether a camera can be trusted, and what to fuse if one cannot. Knows nothing of ROS.

A :class:`CameraWatch` takes notice of every message of its camera and names what is wrong with it.
:func:`choose_mode` turns what is wrong with both cameras into a :class:`FusionMode`.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum
from statistics import median

from dreamif_model.cameras import Both
from dreamif_ros.stamps import to_seconds

MIN_REPEATS = 3  # messages that tell a frozen or blank camera from a chance repetition
SLOW_PERIODS = 3.0  # a slow camera is silent after so many of its own periods
RECENT_INTERVALS = 16  # their median is a camera's period


class Severity(IntEnum):
    """How bad a camera's fault is."""

    NONE = 0
    DOUBTFUL = 1  # there are images, but they show nothing new
    UNUSABLE = 2


FAULTS = {
    "silent": Severity.UNUSABLE,  # no messages
    "stale": Severity.UNUSABLE,  # stamps that stand still or find no partner
    "broken": Severity.UNUSABLE,  # messages that are no image
    "frozen": Severity.DOUBTFUL,  # the same picture over and over: a thermal shutter
    "blank": Severity.DOUBTFUL,  # one gray level everywhere: a cap on the lens
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a camera: one of :data:`FAULTS`, and an explanation for people."""

    kind: str
    text: str


class FusionMode(str, Enum):
    """What the fused image is made of; the text of the topic ``fusion_mode``."""

    FUSED = "fused"
    VISIBLE_ONLY = "visible_only"
    INFRARED_ONLY = "infrared_only"
    NONE = "none"  # neither camera gives an image


def find_faults(watches: Both[CameraWatch], now_s: float) -> Both[Fault | None]:
    """What is wrong with each camera now.

    If both cameras send but no pairs are made, the infrared stamps are to blame: the fused image
    is the visible camera's, with its header. If the stamps of one camera stand still, that camera
    is to blame instead.
    """
    faults = Both.make(lambda c: watches[c].fault(now_s, watches[c.other].moved_s))
    pairs_are_due = all(watch.is_heard(now_s) and not watch.stands_still() for watch in watches)
    if pairs_are_due and all(watch.lacks_partners(now_s) for watch in watches):
        ahead_s = watches.infrared.ahead_of(watches.visible)
        faults.infrared = Fault(
            "stale",
            f"its stamps are {abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} the "
            "visible camera's: see sync.slop_s and sync.infrared_offset_s",
        )
    return faults


def choose_mode(severities: Both[Severity]) -> FusionMode:
    """Fuse both if they are equally good; if not, use the better camera alone.

    Two doubtful cameras are fused: there is nothing better, and a test bench that repeats one
    pair is no fault.
    """
    infrared, visible = severities
    if infrared == visible:
        return FusionMode.NONE if visible == Severity.UNUSABLE else FusionMode.FUSED
    return FusionMode.VISIBLE_ONLY if visible < infrared else FusionMode.INFRARED_ONLY


def severity(fault: Fault | None) -> Severity:
    """How bad a fault is; NONE without a fault."""
    return FAULTS[fault.kind] if fault else Severity.NONE


@dataclass(frozen=True)
class HealthConfig:
    """Time limits in seconds; 0 switches a check off.

    timeout_s: A camera is silent after so long without a message, and stale after so long without
    a pair. A slow camera is given three of its own periods.
    frozen_s: A camera is frozen after so long with the same picture.
    blank_s: A camera is blank after so long with one gray level everywhere.
    """

    timeout_s: float = 0.5
    frozen_s: float = 0.5
    blank_s: float = 0.5


class _Streak:
    """Since when, and for how many messages in a row, something has been true."""

    def __init__(self) -> None:
        self.since_s, self.length = 0.0, 0

    def note(self, is_true: bool, now_s: float) -> None:
        if not is_true:
            self.length = 0
        elif not self.length:
            self.since_s = now_s
        self.length += is_true

    def lasts(self, now_s: float, limit_s: float) -> bool:
        return 0 < limit_s <= now_s - self.since_s and self.length >= MIN_REPEATS


class CameraWatch:
    """Watches one camera. Times are seconds of one steady clock. Safe to use from two threads."""

    def __init__(self, started_s: float, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self._lock = threading.Lock()
        self._started_s = self._paired_s = started_s
        self._received_s: float | None = None
        self._intervals: deque[float] = deque(maxlen=RECENT_INTERVALS)
        self._content: object = None
        self._stamp_ns: int | None = None
        self._ahead_s = 0.0  # newest stamp minus the time at which it came
        self._same_picture, self._same_stamp, self._blank = _Streak(), _Streak(), _Streak()
        self._refusal = ""
        self.moved_s = -math.inf  # when its picture last changed by more than noise

    def received(self, now_s: float, stamp_ns: int, content: object) -> None:
        """A message came; ``content`` is its bytes, which are compared with the last message's."""
        with self._lock:
            if self._received_s is None or self._is_silent(now_s):
                self._paired_s = now_s  # a camera that comes back is given time to find partners
            if self._received_s is not None:
                self._intervals.append(now_s - self._received_s)
            self._received_s = now_s
            self._ahead_s = to_seconds(stamp_ns) - now_s
            self._same_picture.note(content == self._content, now_s)
            self._same_stamp.note(stamp_ns == self._stamp_ns, now_s)
            self._content, self._stamp_ns = content, stamp_ns

    def paired(self, now_s: float) -> None:
        """One of its messages found a partner."""
        with self._lock:
            self._paired_s = now_s

    def seen(self, now_s: float, blank: bool, moved: bool = False) -> None:
        """A message was an image.

        blank: It has one gray level everywhere. moved: It shows another scene than before.
        """
        with self._lock:
            self._blank.note(blank, now_s)
            if moved:
                self.moved_s = now_s

    def accepted(self) -> None:
        """An image could be used."""
        with self._lock:
            self._refusal = ""

    def refused(self, reason: str) -> None:
        """A message was no image, or an image that cannot be fused."""
        with self._lock:
            self._refusal = reason

    def is_heard(self, now_s: float) -> bool:
        """Whether messages come at all."""
        with self._lock:
            return not self._is_silent(now_s)

    def unheard_s(self, now_s: float) -> float:
        """How long the node has waited for the first message; 0 once it came."""
        return now_s - self._started_s if self._received_s is None else 0.0

    def fault(self, now_s: float, other_moved_s: float = math.inf) -> Fault | None:
        """The worst that is wrong with the camera now.

        other_moved_s: When the other camera's picture last changed. A camera that repeats one
        picture is frozen only if the other one has seen a change meanwhile.
        """
        with self._lock:
            if self._is_silent(now_s):
                return Fault("silent", self._silence(now_s))
            if self._refusal:
                return Fault("broken", self._refusal)
            if self._same_stamp.lasts(now_s, self._patience_s()):
                return Fault("stale", "its stamps stand still")
            return self._doubt(now_s, other_moved_s)

    def doubt(self, now_s: float, other_moved_s: float = math.inf) -> Fault | None:
        """What is wrong with its pictures, whether or not they still come."""
        with self._lock:
            return self._doubt(now_s, other_moved_s)

    def lacks_partners(self, now_s: float) -> bool:
        """Whether its messages have found no partner for too long."""
        with self._lock:
            return 0 < self._patience_s() < now_s - self._paired_s

    def stands_still(self) -> bool:
        """Whether its newest stamps are all the same, for however short a time."""
        with self._lock:
            return self._same_stamp.length >= MIN_REPEATS

    def ahead_of(self, other: CameraWatch) -> float:
        """How many seconds its stamps are ahead of the other camera's, at equal arrival."""
        return self._ahead_s - other._ahead_s

    def _doubt(self, now_s: float, other_moved_s: float) -> Fault | None:
        same = self._same_picture
        if same.lasts(now_s, self.config.frozen_s) and other_moved_s >= same.since_s:
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
        if not self.config.timeout_s or len(self._intervals) < MIN_REPEATS:
            return self.config.timeout_s
        return max(self.config.timeout_s, SLOW_PERIODS * median(self._intervals))
