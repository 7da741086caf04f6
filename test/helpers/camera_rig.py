"""A fusion node and two cameras, each a process, and everything that the node publishes."""

import itertools
import json
import re
import subprocess
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from dreamif_model import FusionPipeline, ThermalConfig
from dreamif_model.cameras import Both, Camera
from dreamif_ros.fusion.diagnostics import DROPS_OF_MESSAGES, DROPS_OF_PAIRS
from dreamif_ros.node.lost_messages import LostMessages
from helpers import camera_source
from helpers.camera_source import Settings, picture
from helpers.ros_processes import STOP_TIMEOUT_S, client, parameters, running, spin_until

NODE = "dreamif_ros.fusion.node"
WITHOUT = Both("visible_only", "infrared_only")  # the mode if one camera is at fault
QOS = QoSProfile(depth=100)
LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
STATELESS = {"thermal__smoothing": 1.0}  # what is fused depends on no earlier frame
DECLARED_S = 1.0  # a fault is declared within this time ...
ALLOWANCE_S = 0.5  # ... and this much later on a machine that has other things to do
FOUND_S = 5.0  # DDS takes so long to find a new publisher: its announcements are seconds apart
LOOK_S = 0.2  # between two looks at what came, on a machine that does not hold us up
SETTLED_S = 0.3  # after a mode is declared, images of the mode before may still be on their way
ALIKE = 10  # looks at counts at most, until two in a row are alike
MIN_HZ = 8.0  # rate of the images, which come at 30 Hz on a machine with nothing else to do
INFRARED_SHARE = {"fused": 0.5, "visible_only": 0.0, "infrared_only": 1.0}  # of variant average


class CameraProcess:
    """The process of camera_source.py."""

    def __init__(self, name, *ros_arguments):
        self.name, self._arguments, self._changes = name, ros_arguments, {}
        self.start()

    def start(self):
        """Start the process, again after it was killed, with what it was told before."""
        self._process = subprocess.Popen(
            [sys.executable, camera_source.__file__, self.name, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tell(**self._changes)

    def tell(self, **changes):
        """Change settings; returns how many images were sent so far."""
        self._changes |= changes
        self._process.stdin.write(json.dumps(changes) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @property
    def settings(self):
        return replace(Settings(), **self._changes)

    @property
    def is_well(self):
        """Whether it runs and was told nothing but the defaults."""
        return self._process.poll() is None and self.settings == Settings()

    def heal(self, **settings):
        """Back to the defaults, but for the given settings; back to life where it was killed."""
        if self._process.poll() is not None:
            self.start()
        defaults = {name: getattr(Settings(), name) for name in self._changes}
        self.tell(**(defaults | settings))

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._end()

    def close(self):
        self._process.stdin.close()
        self._end()

    def _end(self):
        self._process.wait(STOP_TIMEOUT_S)
        self._process.stdin.close()
        self._process.stdout.close()


class CameraRig:
    """Two cameras, a running node, and what it published, with the time."""

    def __init__(self, node, process, cameras):
        self.node, self.process = node, process
        self.cameras = cameras
        self.images, self.infrared_shares = deque(maxlen=1000), deque(maxlen=1000)  # with when sent
        self.modes, self.statuses = [], {}
        self.heard, self.missed = 0, LostMessages()  # images
        self.last_mode = ""  # that hear() found in all images
        node.create_subscription(Image, "fused/image_raw", self._on_image, QOS)
        node.create_subscription(Image, "dominance/infrared", self._on_dominance, QOS)
        node.create_subscription(String, "fusion_mode", self._on_mode, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)

    def _on_image(self, message, info):
        self.heard += 1
        if (number := info["publication_sequence_number"]) is not None:  # Cyclone DDS has none
            self.missed.take(b"", number)
        self.images.append((info["source_timestamp"], message))

    def _on_dominance(self, message, info):
        shares = np.frombuffer(message.data, np.float32)
        self.infrared_shares.append((info["source_timestamp"], {shares.min(), shares.max()}))

    def _on_mode(self, message):
        self.modes.append((time.monotonic(), message.data))

    def _on_diagnostics(self, message):
        self.statuses |= {status.name: status for status in message.status}

    def recover(self):
        """Heal both cameras and wait until they are fused."""
        is_well = all(camera.is_well for camera in self.cameras)
        if is_well and self.last_mode == self.modes[-1][1] == "fused":
            return
        for camera in self.cameras:
            camera.heal()
        assert spin_until(self.node, lambda: self.modes[-1][1] == "fused", 10.0), self.report()
        self.spin(SETTLED_S)
        self.hear("fused")

    def spin(self, seconds):
        """Listen for some time in which this process is not held up; returns when it began.

        That is in nanoseconds of wall time, as are the times at which images were sent.
        """
        begun_s = looked_s = time.monotonic()

        def over():
            nonlocal begun_s, looked_s
            now_s = time.monotonic()
            if now_s - looked_s > LOOK_S:  # the other processes were held up as well: wait
                begun_s = now_s + SETTLED_S
            looked_s = now_s
            return now_s - begun_s >= seconds

        spin_until(self.node, over, seconds + 20.0)
        return time.time_ns() - round((time.monotonic() - begun_s) * 1e9)

    def wait_for_mode(self, mode, since_s, within_s=DECLARED_S):
        """Wait until a mode is declared; fails when it is declared too late.

        The node gets as much more time as this process was held up.
        """
        moments, looked_s, held_up_s = [], since_s, 0.0

        def declared():
            nonlocal looked_s, held_up_s
            now_s = time.monotonic()
            looked_s, held_up_s = now_s, held_up_s + max(0.0, now_s - looked_s - LOOK_S)
            moments[:] = [s - since_s for s, text in self.modes if s > since_s and text == mode]
            return moments

        assert spin_until(self.node, declared, 10.0), self.report()
        limit_s = within_s + ALLOWANCE_S + held_up_s
        assert moments[0] <= limit_s, (moments[0], limit_s, self.report())

    def hear(self, mode, seconds=0.5, min_hz=MIN_HZ, **as_if):
        """Listen for some time: images come, and all have the values of this mode.

        min_hz: their minimum rate. as_if: settings of a camera that are assumed instead of its own.
        """
        since_ns = self.spin(seconds)
        settings = {camera.value: process.settings for camera, process in self.cameras.items()}
        possible = possible_images(**(settings | as_if))
        images = [image for sent_ns, image in self.images if sent_ns > since_ns]
        kinds = [possible.get(bytes(image.data), "unknown") for image in images]
        assert set(kinds) == {mode}, (kinds, self.report())
        assert len(kinds) >= min_hz * seconds, (len(kinds), self.report())
        shares = [shares for sent_ns, shares in self.infrared_shares if sent_ns > since_ns]
        assert shares
        assert all(found == {INFRARED_SHARE[mode]} for found in shares)
        self.last_mode = mode

    def expect(self, mode, since_s, within_s=DECLARED_S):
        """A mode is declared in time, and images are what it says."""
        self.wait_for_mode(mode, since_s, within_s)
        self.spin(SETTLED_S)
        self.hear(mode)

    def kill(self, *cameras):
        """Kill cameras once the node knows their names, which may come 3 s after their images.

        Of a camera that is killed before, the node never learns the name.
        """
        self.statuses.clear()
        assert spin_until(self.node, lambda: all(map(self._is_known, cameras))), self.report()
        for camera in cameras:
            self.cameras[camera].kill()

    def _is_known(self, camera):
        status = self.statuses.get(f"/fusion_node: {camera}")
        values = {item.key: item.value for item in status.values} if status else {}
        publishers = values.get("publishers", "")
        return f"/{camera}_camera (" in publishers and "UNKNOWN" not in publishers

    def wait_for_silence_to_be_logged(self, camera):
        """A log line names the topic, its publishers and their QoS; DDS forgets the dead late."""
        self.process.forget_output()
        silence = f"no {camera} image on /{camera}/image_raw: "
        publisher = f" publisher(s): /{camera}_camera (reliable, sensor_msgs/msg/Image)"
        self.process.wait_for_match(rf"{re.escape(silence)}\d+{re.escape(publisher)}", 10.0)

    def wait_for_status(self, level, words, name="/fusion_node"):
        """Wait for diagnostics with this level and these words in their message."""

        def said():
            status = self.statuses.get(name)
            return status and status.level == level and words in status.message

        assert spin_until(self.node, said, 10.0), self.report()

    def pause(self):
        """Silence both cameras; returns the counts of cameras, node and rig until then."""
        sent = {f"{camera} sent": p.tell(rate_hz=0.0) for camera, p in self.cameras.items()}
        self.spin(SETTLED_S)
        before, now = None, self._all_counts()
        for _ in range(ALIKE):
            if now == before:  # nothing is on its way any more
                break
            before, now = now, self._all_counts()
        return now | sent

    def _all_counts(self):
        return self.counts() | {"heard": self.heard, "missed": self.missed.count or 0}

    def resume(self):
        """Let both cameras go on after a pause."""
        for camera in self.cameras:
            camera.tell(rate_hz=Settings.rate_hz)

    def counts(self):
        """The counts of the next diagnostics, by their key."""
        self.statuses.clear()
        assert spin_until(self.node, lambda: "/fusion_node" in self.statuses, 5.0), self.report()
        values = self.statuses["/fusion_node"].values
        return {item.key: int(item.value) for item in values if item.value.isdigit()}

    def report(self):
        """What a failed test shows, with the times of the node's log."""
        offset_s = time.time() - time.monotonic()
        modes = [(round(s + offset_s, 3), mode) for s, mode in self.modes]
        statuses = {name: (s.level, s.message) for name, s in self.statuses.items()}
        return f"{modes[-5:]} {statuses} {self.process.output()[-1500:]}"


@contextmanager
def camera_rig(log, **values):
    """A fusion node of variant average and its two cameras, each a process."""
    with ExitStack() as stack:
        arguments = parameters(variant="average", **(STATELESS | values))
        process = stack.enter_context(running(NODE, *arguments, log=log))
        cameras = Both.make(lambda camera: stack.enter_context(closing(CameraProcess(camera))))
        rig = CameraRig(stack.enter_context(client()), process, cameras)
        assert spin_until(rig.node, lambda: "fused" in dict(rig.modes).values(), 60.0), rig.report()
        yield rig


def possible_images(infrared, visible):
    """What a fused image of cameras with these settings can be: from its bytes to its mode."""
    pipeline = FusionPipeline("average", "cpu", thermal=ThermalConfig(smoothing=1.0))
    visibles = [picture(Camera.VISIBLE, k, visible) for k in range(visible.pictures)]
    infrareds = [picture(Camera.INFRARED, k, infrared) for k in range(infrared.pictures)]
    images = {"visible_only": {_rgb(image).tobytes() for image in visibles}}
    if not infrared.nan:
        shape = visibles[0].shape[:2]
        alone = [pipeline.infrared_alone(image, shape) for image in infrareds]
        both = [pipeline.fuse(*pair) for pair in itertools.product(visibles, infrareds)]
        images["infrared_only"] = {result.fused.tobytes() for result in alone}
        images["fused"] = {result.fused.tobytes() for result in both}
    modes = {image: mode for mode, of_mode in images.items() for image in of_mode}
    assert len(modes) == sum(map(len, images.values()))  # none is of two modes
    return modes


def _rgb(image):
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def unaccounted(before, after):
    """Images that nobody counted, from the counts at two pauses of a rig.

    All must be 0: messages sent, messages received, pairs and lone images, images published.
    Where the middleware does not number messages, none may be lost on its way.
    """
    n = Counter({key: count - before.get(key, 0) for key, count in after.items()})
    messages = sum(n[f"{camera} received"] for camera in Camera) - 2 * n["pairs"]
    messages -= sum(n[f"messages {reason}"] for reason in (*DROPS_OF_MESSAGES, "waiting"))
    moments = n["pairs"] + n["images used alone"] - n["published"]
    moments -= sum(n[f"pairs {reason}"] for reason in DROPS_OF_PAIRS)
    return {
        **{
            f"{camera} sent": n[f"{camera} sent"] - n[f"{camera} lost"] - n[f"{camera} received"]
            for camera in Camera
        },
        "received": messages,
        "pairs": moments,
        "published": n["published"] - n["heard"] - n["missed"],
    }
