"""One calibration of two cameras, for planes at several distances."""

import cv2
import numpy as np
import pytest
from helpers.calibrations import calibration, shift

from dreamif_model import Calibration, ConfigError
from dreamif_model.registration.geometry import CameraPair, Intrinsics
from dreamif_model.registration.warp import Registrar

INFRARED = Intrinsics((80, 64), np.array([[70.0, 0, 40], [0, 72.0, 31], [0, 0, 1]]))
VISIBLE = Intrinsics((128, 96), np.array([[110.0, 0, 62], [0, 111.0, 49], [0, 0, 1]]))
BENT = Intrinsics(INFRARED.size, INFRARED.matrix, (-0.3, 0.1, 0.002, -0.001, 0.0))
TURN = cv2.Rodrigues(np.array([0.02, -0.03, 0.05]))[0]
MOVE = np.array([0.12, -0.03, 0.02])  # metres
DISTANCES = (1.5, 4.0, 30.0)


def cameras(infrared=INFRARED, turn=TURN, move=MOVE):
    pair = CameraPair(infrared, VISIBLE, turn, move, 8.0)
    return Calibration(pair, infrared.size, VISIBLE.size)


def visible_pixels():
    x, y = np.meshgrid(np.arange(128.0), np.arange(96.0))
    return np.column_stack((x.ravel(), y.ravel()))


def plane(pixels, distance_m):
    """The points (N, 3) of a plane across the visible camera's axis, under these pixels."""
    x = (pixels[:, 0] - 62) / 110 * distance_m
    y = (pixels[:, 1] - 49) / 111 * distance_m
    return np.column_stack((x, y, np.full(len(x), distance_m)))


@pytest.mark.parametrize("distance_m", DISTANCES)
@pytest.mark.parametrize("infrared", [INFRARED, BENT])
def test_infrared_pixels_are_those_of_the_planes_points(infrared, distance_m):
    pixels = visible_pixels()
    found = cameras(infrared).at(distance_m).to_infrared(pixels, infrared.size, VISIBLE.size)
    bends = np.array(infrared.distortion or (0.0,) * 5)
    turn = cv2.Rodrigues(TURN)[0]
    true = cv2.projectPoints(plane(pixels, distance_m), turn, MOVE, infrared.matrix, bends)[0]
    np.testing.assert_allclose(found, true[:, 0], atol=1e-6)


@pytest.mark.parametrize("distance_m", DISTANCES)
def test_it_is_the_homography_of_the_plane(distance_m):
    """K_i (R + t nᵀ / d) K_v⁻¹ (Hartley & Zisserman, 13.1), for n along the visible axis."""
    induced = TURN + np.outer(MOVE, [0, 0, 1]) / distance_m
    matrix = INFRARED.matrix @ induced @ np.linalg.inv(VISIBLE.matrix)
    pixels = visible_pixels()
    true = cv2.perspectiveTransform(pixels[:, None], matrix)[:, 0]
    found = cameras().at(distance_m).to_infrared(pixels, INFRARED.size, VISIBLE.size)
    np.testing.assert_allclose(found, true, atol=1e-9)


@pytest.mark.parametrize("distance_m", DISTANCES)
def test_a_moved_registrar_reads_infrared_where_the_point_is(distance_m):
    """Infrared images whose value is their x and y: bilinear look-up returns the position."""
    before = Registrar(cameras(BENT))
    before.warp((64, 80), (96, 128))
    moved = before.moved(cameras(BENT).at(distance_m)).warp((64, 80), (96, 128))
    y, x = np.mgrid[:64, :80].astype(np.float32)
    turn, bends = cv2.Rodrigues(TURN)[0], np.array(BENT.distortion)
    points = plane(visible_pixels(), distance_m)
    true = cv2.projectPoints(points, turn, MOVE, BENT.matrix, bends)[0].reshape(96, 128, 2)
    inside = ((true > 0) & (true < (79, 63))).all(axis=2)
    assert inside.mean() > 0.5
    for image, place in ((x, true[..., 0]), (y, true[..., 1])):
        assert np.abs(moved(image) - place)[inside].max() < 0.06  # steps of 1/32 pixel


def test_a_moved_registrar_keeps_the_sizes_and_the_coverage():
    before = Registrar(cameras(), feather_px=3.0)
    before.warp((32, 40), (48, 64))  # half the calibrated sizes
    moved = before.moved(cameras().at(2.0))
    exact = Registrar(cameras().at(2.0), feather_px=3.0).warp((32, 40), (48, 64))
    assert moved.warp((32, 40), (48, 64)).sizes == exact.sizes
    coverage = moved.warp((32, 40), (48, 64)).coverage
    assert np.abs(coverage - exact.coverage).max() < 0.01
    assert before.calibration.geometry.distance_m == 8.0


def test_the_shift_is_the_parallax():
    straight = cameras(turn=np.eye(3), move=np.array([0.1, 0.0, 0.0]))
    parallax = 70.0 * 0.1 * (1 / 4 - 1 / 5)
    assert straight.at(4.0).shift_px(straight.at(5.0)) == pytest.approx(parallax)
    assert straight.shift_px(straight.at(8.0)) == 0


def test_images_without_a_common_pixel_are_infinitely_apart():
    aside = cameras(turn=np.eye(3), move=np.array([0.1, 0.0, 0.0]))
    assert aside.at(0.02).shift_px(aside.at(0.03)) == np.inf  # 350 and 233 pixels aside


def test_a_distance_at_which_infrared_sees_nothing_is_refused():
    aside = cameras(turn=np.eye(3), move=np.array([0.1, 0.0, 0.0]))
    for registrar in (Registrar(aside), Registrar(aside)):
        with pytest.raises(ConfigError, match="outside the visible one"):
            registrar.moved(aside.at(0.02))
        registrar.warp((64, 80), (96, 128))


def test_a_homography_holds_at_one_distance():
    with pytest.raises(ConfigError, match=r"holds at one distance only.*--board 6x5:0\.03"):
        calibration(shift(3, 0)).at(2.0)
