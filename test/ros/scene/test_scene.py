"""The simulated street: what one camera sees and the other does not, and the truth about it."""

from __future__ import annotations

import numpy as np
import pytest

from dreamif_ros.scene import Box, Scene, SceneConfig
from dreamif_ros.scene.street import make_street

SMALL = (320, 240)


@pytest.fixture(scope="module")
def clean() -> Scene:
    return Scene(SceneConfig(noise=0.0))


@pytest.fixture(scope="module")
def small() -> Scene:
    return Scene(SceneConfig(visible_size=SMALL, infrared_size=SMALL))


def window(box: Box, margin: int = 0) -> tuple[slice, slice]:
    top, left = max(int(box.y) - margin, 0), max(int(box.x) - margin, 0)
    bottom, right = int(box.y + box.height) + margin + 1, int(box.x + box.width) + margin + 1
    return slice(top, bottom), slice(left, right)


def ring(image: np.ndarray, box: Box, margin: int) -> np.ndarray:
    """The pixels (N, ...) around a box, up to a margin."""
    around = np.zeros(image.shape[:2], dtype=bool)
    around[window(box, margin)] = True
    around[window(box)] = False
    return image[around]


def celsius(counts: np.ndarray) -> np.ndarray:
    return counts / 100.0 - 273.15


def people_apart(boxes: list[Box], smallest: float, gap: float) -> list[Box]:
    """The people at least `smallest` px tall, with nobody else within `gap` px."""

    def apart(one: Box, other: Box) -> bool:
        gap_x = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
        gap_y = max(one.y, other.y) - min(one.y + one.height, other.y + other.height)
        return max(gap_x, gap_y) > gap

    return [
        box
        for box in boxes
        if box.label == "person" and box.height > smallest
        if all(box is other or apart(box, other) for other in boxes)
    ]


def hot_spot(image: np.ndarray, box: Box) -> np.ndarray:
    """The centroid (x, y) of what is warmer than 20 degC within a box."""
    rows, columns = window(box, 2)
    y, x = np.nonzero(celsius(image[rows, columns]) > 20.0)
    return np.array([x.mean() + columns.start, y.mean() + rows.start])


def test_the_same_configuration_and_time_give_the_same_bytes(small: Scene) -> None:
    again = Scene(SceneConfig(visible_size=SMALL, infrared_size=SMALL))
    again.visible(9.0)  # no state is left behind by another time
    for time_s in (0.0, 3.7):
        assert np.array_equal(small.visible(time_s), again.visible(time_s))
        assert np.array_equal(small.infrared(time_s), again.infrared(time_s))
        assert small.boxes(time_s) == again.boxes(time_s)


def test_another_seed_gives_another_street(small: Scene) -> None:
    other = Scene(SceneConfig(seed=1, visible_size=SMALL, infrared_size=SMALL, noise=0.0))
    difference = np.abs(small.visible(1.0).astype(int) - other.visible(1.0))
    assert (difference.max(axis=2) > 40).mean() > 0.02
    assert small.boxes(1.0) != other.boxes(1.0)


def test_images_have_the_types_of_the_cameras(small: Scene) -> None:
    visible, infrared = small.visible(0.0), small.infrared(0.0)
    assert (visible.shape, visible.dtype) == ((240, 320, 3), np.uint8)
    assert (infrared.shape, infrared.dtype) == ((240, 320), np.uint16)


@pytest.mark.parametrize("time_s", [0.0, 2.5, 6.0, 10.5, 1234.5])
def test_people_are_warmer_than_what_is_around_them(clean: Scene, time_s: float) -> None:
    infrared = celsius(clean.infrared(time_s))
    people = people_apart(clean.boxes(time_s), smallest=25.0, gap=4.0)
    assert people
    for box in people:
        assert infrared[window(box)].max() > 25.0
        assert infrared[window(box)].mean() > np.median(ring(infrared, box, 5)) + 2.0


@pytest.mark.parametrize("time_s", [0.0, 4.0, 8.0])
def test_people_in_the_dark_are_seen_only_by_the_infrared_camera(
    clean: Scene, time_s: float
) -> None:
    visible = clean.visible(time_s).mean(axis=2)
    infrared = celsius(clean.infrared(time_s))
    hidden = [b for b in clean.boxes(time_s) if b.label == "person" and b.dark]
    assert len(hidden) >= 2
    for box in hidden:
        assert abs(visible[window(box)].mean() - ring(visible, box, 5).mean()) < 12.0
        assert visible[window(box)].mean() < 40.0
        assert np.percentile(infrared[window(box)], 90) > 20.0


def test_signs_are_read_only_by_the_visible_camera(clean: Scene) -> None:
    visible, infrared = clean.visible(0.0).mean(axis=2), celsius(clean.infrared(0.0))
    assert len(clean.signs) >= 3
    for sign in clean.signs:
        # The middle: the corners of a stop sign's box are not the sign.
        rows, columns = window(sign)
        inset_y, inset_x = max(int(sign.height * 0.2), 1), max(int(sign.width * 0.2), 1)
        inside = (
            slice(rows.start + inset_y, rows.stop - inset_y),
            slice(columns.start + inset_x, columns.stop - inset_x),
        )
        assert np.ptp(visible[inside]) > 90
        assert np.ptp(infrared[inside]) < 0.1


@pytest.mark.parametrize("infrared_size", [SMALL, (240, 200)])
def test_homography_leads_from_infrared_to_visible_pixels(
    infrared_size: tuple[int, int],
) -> None:
    aligned = Scene(SceneConfig(3, SMALL, SMALL, noise=0.0))
    turned = Scene(SceneConfig(3, SMALL, infrared_size, noise=0.0, misalignment=1.0))
    # Through an infrared camera like the visible one, a hot spot lies at its visible place.
    reference, image = aligned.infrared(3.2), turned.infrared(3.2)
    to_infrared = np.linalg.inv(turned.homography)
    compared = 0
    for box in people_apart(aligned.boxes(3.2), smallest=20.0, gap=3.0):
        if not 30 < box.x < 300:
            continue
        corners = np.array([(box.x, box.y), (box.x + box.width, box.y + box.height)])
        (left, top), (right, bottom) = (np.c_[corners, [1, 1]] @ to_infrared.T)[:, :2]
        moved = Box("person", left, top, right - left, bottom - top, dark=False)
        place = turned.homography @ (*hot_spot(image, moved), 1.0)
        assert np.abs(place[:2] - hot_spot(reference, box)).max() < 2.0
        compared += 1
    assert compared >= 2


def test_misalignment_has_the_promised_size() -> None:
    scene = Scene(SceneConfig(visible_size=SMALL, infrared_size=SMALL, misalignment=1.0))
    linear = scene.homography[:2, :2]
    centre = np.array([159.5, 119.5, 1.0])
    shift = (scene.homography @ centre - centre)[:2]
    assert np.hypot(*shift) == pytest.approx(10.0)  # 20 px at twice the size
    assert np.sqrt(np.linalg.det(linear)) == pytest.approx(1.05)
    assert np.degrees(np.arctan2(linear[1, 0], linear[0, 0])) == pytest.approx(2.0)


def test_aligned_cameras_share_their_pixels(small: Scene) -> None:
    assert np.allclose(small.homography, np.eye(3))


@pytest.mark.parametrize(
    ("visible_size", "infrared_size"),
    [((64, 48), (64, 48)), ((1920, 1080), (160, 120)), ((100, 300), (321, 99))],
)
def test_sizes(visible_size: tuple[int, int], infrared_size: tuple[int, int]) -> None:
    scene = Scene(SceneConfig(visible_size=visible_size, infrared_size=infrared_size))
    for time_s in (0.0, 6.5):
        assert scene.visible(time_s).shape == (visible_size[1], visible_size[0], 3)
        assert scene.infrared(time_s).shape == (infrared_size[1], infrared_size[0])
        for box in scene.boxes(time_s):
            assert 0 <= box.x < box.x + box.width <= visible_size[0]
            assert 0 <= box.y < box.y + box.height <= visible_size[1]


@pytest.mark.parametrize("seed", [0, 7])
def test_temperatures_are_plausible(seed: int) -> None:
    scene = Scene(SceneConfig(seed=seed, infrared_size=SMALL, visible_size=SMALL))
    for time_s in np.arange(0.0, 12.0, 1.3):
        infrared = celsius(scene.infrared(float(time_s)))
        assert infrared.min() > -20.0
        assert infrared.max() < 120.0


def test_without_noise_what_stands_still_keeps_its_bytes(clean: Scene) -> None:
    sky = slice(0, 60)
    assert np.array_equal(clean.visible(0.0)[sky], clean.visible(5.0)[sky])
    assert np.array_equal(clean.infrared(0.0)[sky], clean.infrared(5.0)[sky])


def test_noise_changes_with_time_and_grows_with_its_factor() -> None:
    spreads = []
    for noise in (1.0, 2.0):
        scene = Scene(SceneConfig(noise=noise, visible_size=(96, 72), infrared_size=(96, 72)))
        difference = scene.infrared(0.0)[:12].astype(float) - scene.infrared(1.0)[:12]
        spreads.append(difference.std())
    assert spreads[0] > 5.0
    assert spreads[1] == pytest.approx(2 * spreads[0], rel=0.1)


def test_motion_is_continuous(small: Scene) -> None:
    def places(time_s: float) -> list[tuple[float, float]]:
        return [(b.x, b.y) for b in small.boxes(time_s) if b.label == "person"]

    for time_s in np.arange(0.0, 60.0, 1.7):
        before, after = places(float(time_s)), places(float(time_s) + 0.02)
        near = [min(np.hypot(x - u, y - v) for u, v in after) for x, y in before]
        # One may just vanish behind another.
        assert sorted(near)[-2] < 2.0


def test_nobody_is_run_over() -> None:
    for seed in range(4):
        street = make_street(seed)
        for time_s in np.arange(0.0, 24.0, 0.1):
            cars = [c.pose(float(time_s)) for c in street.cars]
            for person in street.pedestrians:
                at = person.route.at(float(time_s))
                assert all(abs(at.x - c.x) > 1.0 or abs(at.z - c.z) > 2.4 for c in cars)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed is -1, expected an integer of 0 or more"),
        ({"visible_size": (63, 48)}, r"visible_size is \(63, 48\), expected .* from 64x48"),
        ({"infrared_size": (640, 47)}, r"infrared_size is \(640, 47\), expected"),
        ({"infrared_size": (640.5, 480)}, r"infrared_size is \(640.5, 480\), expected"),
        ({"visible_size": (640,)}, r"visible_size is \(640,\), expected \(width, height\)"),
        ({"noise": -0.1}, "noise is -0.1, expected a finite number of 0 or more"),
        ({"noise": float("nan")}, "noise is nan, expected"),
        ({"misalignment": 1.5}, "misalignment is 1.5, expected 0 to 1"),
        ({"homography": ((1.0, 0.0, 0.0),) * 3}, "expected an invertible 3x3 matrix"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("time_s", [-0.1, float("nan"), float("inf")])
def test_a_time_before_the_start_is_refused(small: Scene, time_s: float) -> None:
    with pytest.raises(ValueError, match=r"time_s is .*, expected a finite number of 0 or more"):
        small.boxes(time_s)
