"""Warps against OpenCV and by hand, the calibration's file."""

import math
import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers.calibrations import SHAPE, SIZE, calibration, shift

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.registration.calibration_file import read_calibration, write_calibration
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics
from dreamif_model.registration.warp import Calibration, Registrar

LENSES = {
    "none": ("plumb_bob", ()),
    "plumb_bob": ("plumb_bob", (-0.3, 0.12, 0.002, -0.001, -0.02)),
    "four": ("plumb_bob", (-0.2, 0.05, 0.001, 0.002)),
    "rational": ("rational_polynomial", (0.2, -0.3, 0.001, -0.002, 0.04, 0.5, -0.2, 0.03)),
}


def turn(degrees, scale=1.0, size=SIZE):
    """About the centre of an image."""
    centre = (np.array(size) - 1) / 2
    cos, sin = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre - linear @ centre
    return matrix


def registered(matrix, infrared, shape=SHAPE, feather_px=16.0):
    size = infrared.shape[1], infrared.shape[0]
    registrar = Registrar(calibration(matrix, size, shape[::-1]), feather_px=feather_px)
    warp = registrar.warp(infrared.shape, shape)
    return warp(infrared), warp.coverage


def camera(lens="plumb_bob", size=(320, 240), focal=300.0):
    model, distortion = LENSES[lens]
    matrix = np.array([[focal, 0, size[0] / 2 - 3], [0, focal * 1.02, size[1] / 2 + 4], [0, 0, 1]])
    return Intrinsics(size, matrix, distortion, model)


def pair(distance_m=8.0, infrared="plumb_bob", visible="rational"):
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.04]))[0]
    return CameraPair(
        camera(infrared), camera(visible), rotation, np.array([0.12, -0.03, 0.05]), distance_m
    )


class TestHomography:
    def test_a_whole_shift_moves_pixels_exactly(self, smooth):
        """Infrared pixel (0, 0) is visible pixel (5, 3)."""
        warped, coverage = registered(shift(5, 3), smooth)
        np.testing.assert_allclose(warped[3:, 5:], smooth[:-3, :-5], atol=1e-5)
        assert (coverage[:3] == 0).all()
        assert (coverage[:, :5] == 0).all()
        assert (coverage[3:, 5:] > 0).all()

    @pytest.mark.parametrize(
        "matrix",
        [
            turn(4),
            turn(-5, 1.25),
            shift(-7.3, 4.6) @ turn(3, 0.8),
            [[1.05, 0.03, -2], [-0.02, 0.97, 3], [4e-4, -3e-4, 1]],
            -2 * np.array([[1.05, 0.03, -2], [-0.02, 0.97, 3], [4e-4, -3e-4, 1]]),
        ],
    )
    def test_as_opencv(self, smooth, matrix):
        """Inside; OpenCV rounds positions to 1/32 pixel."""
        warped, coverage = registered(matrix, smooth, feather_px=0)
        expected = cv2.warpPerspective(smooth, np.asarray(matrix), SIZE)
        inside = cv2.warpPerspective(np.ones(SHAPE, np.float32), np.asarray(matrix), SIZE) > 0.999
        assert inside.mean() > 0.4
        np.testing.assert_allclose(warped[inside], expected[inside], atol=0.01)
        assert (coverage[inside] == 1).all()

    def test_8_bit_images_are_warped_as_any(self, smooth):
        """To half a gray level; so is what is averaged first."""
        gray = np.rint(255 * smooth).astype(np.uint8)
        for matrix in (turn(-5, 1.25), np.diag((0.5, 0.5, 1.0))):
            warped, _ = registered(matrix, gray)
            exact, _ = registered(matrix, gray.astype(np.float32))
            assert warped.dtype == np.uint8
            np.testing.assert_allclose(warped, exact, atol=1.01)

    def test_equal_sizes_without_a_shift_change_nothing(self, smooth):
        warped, coverage = registered(np.eye(3), smooth)
        np.testing.assert_allclose(warped, smooth, atol=1e-5)
        assert (coverage == 1).all()

    def test_shrinking_averages(self, rng):
        """Three infrared pixels along each side become one."""
        fine = rng.random((144, 192), np.float32)
        matrix = np.diag((1 / 3, 1 / 3, 1.0))
        matrix[:2, 2] = 0.5 / 3 - 0.5  # pixel 1 of three is the middle
        warped, coverage = registered(matrix, fine)
        expected = fine.reshape(48, 3, 64, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(warped, expected, atol=1e-5)
        assert (coverage == 1).all()

    def test_what_is_behind_the_camera_is_not_covered(self):
        """The visible plane's horizon is a column of the visible image."""
        matrix = np.linalg.inv([[1, 0, 0], [0, 1, 0], [-1 / 40, 0, 1]])
        found = Homography(matrix).to_infrared(np.array([[20.0, 0], [39, 0], [41, 0], [60, 0]]))
        assert found[:2, 0] == pytest.approx([40, 39 * 40])
        assert np.isnan(found[2:]).all()

    def test_there_and_back(self):
        matrix = shift(3, -2) @ turn(5, 1.1)
        points = np.array([[0.0, 0], [10, 3], [63, 47]])
        geometry = Homography(matrix)
        assert geometry.to_infrared(geometry.to_visible(points)) == pytest.approx(points)

    @pytest.mark.parametrize("matrix", [np.ones((3, 3)), np.full((3, 3), np.nan), np.eye(2)])
    def test_refuses(self, matrix):
        with pytest.raises(ConfigError, match="homography"):
            Homography(matrix)


class TestCameras:
    @pytest.mark.parametrize("lens", LENSES)
    def test_projects_and_undistorts_as_opencv(self, lens):
        shown = camera(lens)
        rays = np.random.default_rng(0).uniform((-0.5, -0.4), (0.5, 0.4), (200, 2))
        points = np.column_stack((rays, np.ones(len(rays))))
        pixels, _ = cv2.projectPoints(
            points, np.zeros(3), np.zeros(3), shown.matrix, np.array(shown.distortion)
        )
        assert shown.project(rays) == pytest.approx(pixels[:, 0], abs=1e-9)
        assert shown.rays(pixels[:, 0]) == pytest.approx(rays, abs=1e-6)

    @pytest.mark.parametrize("distance_m", [2.0, 8.0, 1000.0])
    def test_a_point_at_the_distance_is_where_opencv_projects_it(self, distance_m):
        """The same point in both images, by cv2.projectPoints."""
        cameras = pair(distance_m)
        points = np.random.default_rng(1).uniform((-0.4, -0.3), (0.4, 0.3), (100, 2))
        points = np.column_stack((points, np.ones(len(points)))) * distance_m
        visible, infrared = (
            cv2.projectPoints(points, *pose, lens.matrix, np.array(lens.distortion))[0][:, 0]
            for lens, pose in (
                (cameras.visible, (np.zeros(3), np.zeros(3))),
                (cameras.infrared, (cv2.Rodrigues(cameras.rotation)[0], cameras.translation)),
            )
        )
        assert cameras.to_infrared(visible) == pytest.approx(infrared, abs=1e-3)

    def test_an_unbent_pair_is_the_homography_of_its_plane(self):
        """K (R + t nᵀ / d) K⁻¹ for the plane z = d (Hartley & Zisserman, 13.1)."""
        cameras = pair(3.0, "none", "none")
        plane = cameras.rotation + np.outer(cameras.translation, (0, 0, 1)) / 3.0
        to_infrared = cameras.infrared.matrix @ plane @ np.linalg.inv(cameras.visible.matrix)
        points = np.random.default_rng(2).uniform(0, 240, (50, 2))
        expected = Homography(np.linalg.inv(to_infrared)).to_infrared(points)
        assert cameras.to_infrared(points) == pytest.approx(expected, abs=1e-9)

    def test_warps_as_opencv(self, rng):
        infrared = cv2.GaussianBlur(rng.random((240, 320), np.float32), (0, 0), 3)
        warp = Registrar(Calibration(pair(), (320, 240), (320, 240)), feather_px=0).warp(
            (240, 320), (240, 320)
        )
        x, y = np.meshgrid(np.arange(320.0), np.arange(240.0))
        places = pair().to_infrared(np.column_stack((x.ravel(), y.ravel())))
        maps = np.nan_to_num(places, nan=-9).astype(np.float32).reshape(240, 320, 2)
        expected = cv2.remap(infrared, maps, None, cv2.INTER_LINEAR, borderValue=-1)
        covered = warp.coverage == 1
        inside = ((maps >= 0) & (maps <= (319, 239))).all(axis=2)
        assert 0.5 < covered.mean() < 1
        assert (covered[inside]).all()
        np.testing.assert_allclose(warp(infrared)[inside], expected[inside], atol=0.01)

    def test_a_ray_beyond_the_lens_is_nowhere(self):
        """r (1 - 0.3 r²) folds at r = 1/√0.9: beyond, rays would come back into the image."""
        lens = Intrinsics((320, 240), camera().matrix, (-0.3, 0, 0, 0))
        found = lens.project(np.array([[0.0, 0], [1.04, 0], [1.07, 0], [1.8, 0]]))
        assert np.isfinite(found[:2]).all()
        assert np.isnan(found[2:]).all()

    def test_behind_the_infrared_camera_is_nowhere(self):
        backwards = CameraPair(
            camera("none"), camera("none"), np.diag((-1.0, 1, -1)), np.zeros(3), 5.0
        )
        assert np.isnan(backwards.to_infrared(np.array([[160.0, 120]]))).all()

    def test_of_a_camera_info(self):
        info = SimpleNamespace(
            width=320, height=240, k=[300, 0, 160, 0, 300, 120, 0, 0, 1], d=[-0.3, 0.1, 0, 0, 0],
            distortion_model="plumb_bob",
        )  # fmt: skip
        made = Intrinsics.from_camera_info(info)
        assert made.size == (320, 240)
        assert made.matrix[:2].tolist() == [[300, 0, 160], [0, 300, 120]]
        assert made.distortion == (-0.3, 0.1, 0, 0, 0)

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("k", [0.0] * 9, "zeros is of an uncalibrated camera"),
            ("distortion_model", "equidistant", "plumb_bob or rational_polynomial"),
            ("d", [1.0] * 3, "plumb_bob takes 0 or 4 or 5"),
            ("d", [math.inf] * 4, "must be finite"),
            ("width", 0, "must be \\(width, height\\)"),
        ],
    )
    def test_refuses_a_camera_info(self, field, value, words):
        info = {
            "width": 320,
            "height": 240,
            "k": [300, 0, 160, 0, 300, 120, 0, 0, 1],
            "d": [],
            "distortion_model": "",
        }
        with pytest.raises(ConfigError, match=words):
            Intrinsics.from_camera_info(SimpleNamespace(**{**info, field: value}))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"rotation": 2 * np.eye(3)}, "no rotation matrix"),
            ({"rotation": np.diag((1.0, 1, -1))}, "no rotation matrix"),
            ({"translation": np.zeros(2)}, "translation must be 3 finite"),
            ({"distance_m": 0.0}, "distance_m must be above 0 m"),
        ],
    )
    def test_refuses_a_pair(self, change, words):
        settings = {
            "infrared": camera(),
            "visible": camera(),
            "rotation": np.eye(3),
            "translation": np.zeros(3),
            "distance_m": 5.0,
        }
        with pytest.raises(ConfigError, match=words):
            CameraPair(**{**settings, **change})


class TestSizes:
    def test_a_scaled_calibration_shows_the_same(self, smooth):
        """Images twice as large in both cameras: the shift doubles."""
        registrar = Registrar(calibration(shift(4, 2)), feather_px=0)
        warp = registrar.warp((96, 128), (96, 128))
        large = cv2.resize(smooth, (128, 96))
        np.testing.assert_allclose(warp(large)[4:, 8:], large[:-4, :-8], atol=1e-5)
        assert (warp.coverage[:4] == 0).all()

    def test_one_camera_scaled(self, smooth):
        """Half the infrared pixels still reach the visible edges."""
        warp = Registrar(calibration(np.eye(3))).warp((24, 32), SHAPE)
        half = cv2.resize(smooth, (32, 24), interpolation=cv2.INTER_AREA)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(half)[None, None], SHAPE, mode="bilinear"
        )
        np.testing.assert_allclose(warp(half), expected[0, 0], atol=1e-5)
        assert (warp.coverage == 1).all()

    @pytest.mark.parametrize(
        ("infrared", "visible", "words"),
        [
            ((48, 48), SHAPE, "infrared image is 48x48.*for 64x48"),
            (SHAPE, (64, 48), "visible image is 48x64.*calibrate again"),
        ],
    )
    def test_refuses_another_shape(self, infrared, visible, words):
        with pytest.raises(ImageError, match=words):
            Registrar(calibration(np.eye(3))).warp(infrared, visible)

    def test_refuses_a_calibration_that_shows_nothing(self):
        with pytest.raises(ConfigError, match="outside the visible one"):
            Registrar(calibration(shift(100, 0)))

    def test_sizes_that_are_not_in_use_cost_nothing(self):
        huge = Calibration(Homography(np.eye(3)), (16384, 16384), (16384, 16384))
        tracemalloc.start()
        registrar = Registrar(huge)
        with pytest.raises(ImageError, match="for 16384x16384, which has another shape"):
            registrar.warp(SHAPE, SHAPE)
        assert registrar.warp((64, 64), (64, 64)).covers_all
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()

    def test_the_grid_is_kept(self):
        registrar = Registrar(calibration(np.eye(3)))
        warp = registrar.warp(SHAPE, SHAPE)
        assert registrar.warp(SHAPE, SHAPE) is warp
        assert registrar.warp((24, 32), SHAPE) is not warp


def test_coverage_rises_smoothly_inside_the_border(smooth):
    _, coverage = registered(shift(10, 0), smooth, feather_px=8)
    assert (coverage[:, :10] == 0).all()
    assert (coverage[:, 18:] == 1).all()
    profile = coverage[20, 9:19]
    share = np.arange(10) / 9  # 3s² − 2s³
    assert profile == pytest.approx(np.clip(3 * share**2 - 2 * share**3, 0, 1), abs=1e-6)


class TestFile:
    def test_a_homography_there_and_back(self, tmp_path):
        path = tmp_path / "calibration.yaml"
        written = Calibration(Homography(turn(3.3, 1.07)), (64, 48), (128, 96), 0.031, 0.4)
        write_calibration(written, path)
        read = read_calibration(path)
        np.testing.assert_array_equal(read.geometry.matrix, written.geometry.matrix)
        for name in ("infrared_size", "visible_size", "clock_offset_s", "residual_px"):
            assert getattr(read, name) == getattr(written, name)

    def test_cameras_there_and_back(self, tmp_path):
        path = tmp_path / "calibration.yaml"
        write_calibration(Calibration(pair(), (320, 240), (320, 240)), path)
        read, expected = read_calibration(path), pair()
        assert (read.clock_offset_s, read.residual_px) == (None, None)
        points = np.random.default_rng(0).uniform(0, 240, (20, 2))
        np.testing.assert_array_equal(
            read.geometry.to_infrared(points), expected.to_infrared(points)
        )

    def test_cameras_in_files_of_camera_calibration(self, tmp_path):
        path = tmp_path / "calibration.yaml"
        write_calibration(Calibration(pair(), (320, 240), (320, 240)), path)
        content = yaml.safe_load(path.read_text())
        ost = {**content["infrared"], "camera_name": "thermal", "projection_matrix": {"data": []}}
        (tmp_path / "thermal.yaml").write_text(yaml.safe_dump(ost))
        path.write_text(yaml.safe_dump({**content, "infrared": "thermal.yaml"}))
        np.testing.assert_array_equal(
            read_calibration(path).geometry.infrared.matrix, pair().infrared.matrix
        )

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"model": "affine"}, "'affine', expected homography or cameras"),
            ({"homography": None}, r"homography must be a list of 3×3 numbers, got None"),
            ({"homography": [[1, 2], [3]]}, "homography must be a list of 3×3"),
            ({"homography": [[1, 1, 1], [1, 1, 1], [1, 1, 1]]}, "has no inverse"),
            ({"homography": [[1, 1, 0], [1, 1, 0], [0, 0, 1]]}, "has no inverse"),
            ({"homography": [[1e300, 0, 0], [0, 1e300, 0], [0, 0, 1e-300]]}, "has no inverse"),
            ({"infrared_size": [64, 0]}, r"infrared_size is \[64, 0\], expected \[width, height"),
            ({"visible_size": [640000, 480]}, r"\[640000, 480\], .* in pixels, 1 to 16384"),
            ({"homography": [[10**400, 0, 0]]}, "a number of 401 characters, expected at most 40"),
            ({"residual_px": "small"}, "residual_px is 'small', expected a finite number"),
            ({"residual_px": math.nan}, "residual_px is nan, expected a finite number"),
            ({"clock_offset_s": -math.inf}, "clock_offset_s is -inf, expected a finite"),
            ({"clock_offset_s": 10**400}, "a number of 401 characters, expected at most 40"),
            ({"infrared": 3}, "infrared is 3, expected a camera_info file or its contents"),
            ({"visible": "camera_info"}, "visible is camera_info, a topic that only the fusion"),
            ({"rotation": []}, "unknown rotation: expected model, infrared_size"),
        ],
    )
    def test_refuses_a_homography(self, tmp_path, change, words):
        path = tmp_path / "calibration.yaml"
        write_calibration(calibration(np.eye(3)), path)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
        with pytest.raises(ConfigError, match=f"calibration.yaml(, line .*)?: .*{words}"):
            read_calibration(path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"infrared": {}}, "infrared: image_width, .* missing"),
            ({"infrared": "none.yaml"}, "cannot read .*none.yaml"),
            ({"visible": 3}, "visible is 3, expected a camera_info file or its contents"),
            ({"distance_m": "far"}, "distance_m is 'far', expected a finite number"),
            ({"rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "no rotation matrix"),
        ],
    )
    def test_refuses_cameras(self, tmp_path, change, words):
        path = tmp_path / "calibration.yaml"
        write_calibration(Calibration(pair(), (320, 240), (320, 240)), path)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
        with pytest.raises(ConfigError, match=f"calibration.yaml(, line .*)?: .*{words}"):
            read_calibration(path)

    @pytest.mark.parametrize("text", ["", "- 1", "hello"])
    def test_tells_which_file_to_give_instead(self, tmp_path, text):
        path = tmp_path / "notes.txt"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"notes\.txt is no calibration.*dreamif calibrate"):
            read_calibration(path)

    @pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00"])
    def test_refuses_what_is_no_mapping(self, tmp_path, text):
        path = tmp_path / "calibration.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"calibration\.yaml"):
            read_calibration(path)
