"""What counts as a change of a camera's picture."""

import numpy as np
import pytest

from dreamif_ros.fusion.motion import Motion

RNG = np.random.default_rng(0)
SCENE = np.kron(RNG.integers(40, 200, (12, 16)), np.ones((20, 20)))  # 240×320


def colour(gray, noise=0.0):
    noisy = gray[..., None] + RNG.normal(0, noise, (*gray.shape, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def with_object(x, gray=SCENE):
    scene = gray.copy()
    scene[100:140, x : x + 30] = 255
    return scene


@pytest.mark.parametrize("noise", [0.0, 3.0, 10.0])
def test_noise_alone_is_no_change(noise):
    motion = Motion()
    assert not any(motion.look(colour(SCENE, noise)) for _ in range(50))


@pytest.mark.parametrize("noise", [0.0, 3.0, 10.0])
def test_something_that_moves_is_a_change(noise):
    motion = Motion()
    motion.look(colour(with_object(20), noise))
    assert motion.look(colour(with_object(60), noise))
    assert not motion.look(colour(with_object(60), noise))


def test_a_camera_that_turns_sees_a_change():
    motion = Motion()
    motion.look(colour(SCENE, 3.0))
    assert motion.look(colour(np.roll(SCENE, 10, axis=1), 3.0))


def test_exposure_alone_is_no_change():
    motion = Motion()
    motion.look(colour(SCENE, 2.0))
    assert not motion.look(colour(SCENE + 20, 2.0))


def test_counts_and_degrees():
    for scene in (SCENE.astype(np.uint16) + 29_000, SCENE.astype(np.float32) / 10):
        motion = Motion()
        assert not motion.look(scene)
        assert not motion.look(scene)
        moved = scene.copy()
        moved[100:140, 30:60] = scene.max()
        assert motion.look(moved)


def test_a_slow_change_adds_up():
    motion = Motion()
    scenes = [colour(with_object(20 + k), 2.0) for k in range(30)]
    assert any(motion.look(scene) for scene in scenes)


def test_another_size_begins_anew():
    motion = Motion()
    motion.look(colour(SCENE))
    assert not motion.look(colour(SCENE[:120]))


def test_pictures_of_noise_alone_differ_and_a_little_noise_does_not():
    motion = Motion()
    pictures = [RNG.integers(0, 256, (48, 64), dtype=np.uint8) for _ in range(5)]
    assert [motion.look(picture) for picture in pictures] == [False, True, True, True, True]
    capped = [RNG.integers(50, 52, (48, 64), dtype=np.uint8) for _ in range(5)]
    motion.look(capped[0])
    assert not any(motion.look(picture) for picture in capped)
    wall = np.full((240, 320), 100.0)
    motion = Motion()
    assert not any(motion.look(colour(wall, 10.0)) for _ in range(50))
