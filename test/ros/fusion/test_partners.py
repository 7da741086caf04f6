"""What waits for a partner in the fusion node is limited in number and in bytes."""

import time
from types import SimpleNamespace

import pytest

from dreamif_model.cameras import Both, Camera
from dreamif_ros.fusion import partners as partners_module
from dreamif_ros.fusion.camera_health import CameraWatch
from dreamif_ros.fusion.parameters import SyncSettings
from dreamif_ros.fusion.partners import CameraFrame, Partners
from dreamif_ros.node.node_statistics import Statistics


@pytest.fixture
def partners(monkeypatch):
    monkeypatch.setattr(partners_module, "MAX_WAITING_BYTES", 1000)
    now_s = time.monotonic()
    return Partners(SyncSettings(), Both.make(lambda _: CameraWatch(now_s)), Statistics())


def send(partners, sizes, camera=Camera.VISIBLE, start=0):
    for number, size in enumerate(sizes, start):
        message = SimpleNamespace(data=bytes(size))
        partners.take(CameraFrame(camera, message, number * 1_000_000_000, time.monotonic()))


def test_small_messages_wait_in_the_number_that_is_set(partners):
    send(partners, [10] * 30)
    assert partners.waiting.visible == 10


def test_large_messages_are_limited_by_their_bytes(partners):
    send(partners, [100] * 30)
    assert partners.waiting.visible == 5  # the other camera may keep as much
    assert partners.counts.no_partner == 25


def test_one_large_message_always_waits(partners):
    send(partners, [10_000] * 3)
    assert partners.waiting.visible == 1


def test_small_messages_between_large_ones_do_not_let_more_wait(partners):
    send(partners, [100, 1] * 10)
    assert partners.waiting.visible == 5


def test_large_messages_that_have_gone_do_not_limit_small_ones(partners):
    send(partners, [100] * 10 + [1] * 30)
    assert partners.waiting.visible == 10
