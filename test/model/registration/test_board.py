"""Boards of known pose before known cameras, against projectPoints, and `calibrate --board`."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from helpers.bag_files import write_pairs
from helpers.boards import BOARD, COLOR, RIG, THERMAL, pairs, poses

from dreamif_model.cameras import Both
from dreamif_model.errors import CalibrationError, ConfigError
from dreamif_model.image_files import find_pairs, write_image
from dreamif_model.registration.board import Board, find_boards
from dreamif_model.registration.board_estimate import estimate_lens, fit_cameras, fit_plane
from dreamif_model.registration.calibration_file import read_calibration, write_calibration
from dreamif_model.registration.geometry import Homography, Intrinsics
from dreamif_model.registration.warp import Calibration, Registrar
from dreamif_ros import cli

CIRCLES = Board(4, 11, circles=True, spacing_m=0.012)
UNKNOWN = Both(None, None)
KNOWN = Both(THERMAL, COLOR)


@pytest.fixture(scope="module")
def images():
    return pairs()


@pytest.fixture(scope="module")
def seen(images):
    return find_boards(BOARD, *images)


def projected(camera, points):
    """Pixels of points (N, 3) in the camera's coordinates, by OpenCV."""
    zero = np.zeros(3)
    return cv2.projectPoints(points, zero, zero, camera.matrix, np.array(camera.distortion))[0][
        :, 0
    ]


def board_points(board=BOARD, count=10):
    """(N, 3) of each pose, before the visible camera."""
    middle = board.points.mean(axis=0)
    return [(board.points - middle) @ turned.T + place for turned, place in poses(count)]


def plane_homography(turned, place):
    """Infrared to visible pixels without distortion, of the board's plane."""
    maps = []
    for camera, rotation, moved in (
        (THERMAL, RIG.rotation @ turned, RIG.rotation @ place + RIG.translation),
        (COLOR, turned, place),
    ):
        maps.append(camera.matrix @ np.column_stack((rotation[:, :2], moved)))
    return maps[1] @ np.linalg.inv(maps[0])


class TestFind:
    @pytest.mark.parametrize("board", [BOARD, CIRCLES], ids=str)
    def test_points_are_where_they_are_projected(self, board):
        """Infrared shows the negative; a checkerboard may be found from its other end."""
        found = find_boards(board, *pairs(3, board))
        assert found.found == Both(3, 3)
        for i, points in enumerate(board_points(board, 3)):
            infrared = projected(THERMAL, points @ RIG.rotation.T + RIG.translation)
            visible = projected(COLOR, points)
            errors = [
                max(
                    np.abs(found.points.infrared[i] - infrared[order]).max(),
                    np.abs(found.points.visible[i] - visible[order]).max(),
                )
                for order in (slice(None), slice(None, None, -1))
            ]
            assert min(errors) < 0.5

    def test_counts_and_refusal_where_one_camera_sees_none(self, images):
        infrared, visible = (camera[:3] for camera in images)
        blank = np.full_like(infrared[0], 90)
        partly = find_boards(BOARD, [blank, *infrared[1:]], visible)
        assert (partly.found, len(partly.points.visible)) == (Both(2, 3), 2)
        with pytest.raises(CalibrationError, match="in 0 infrared and 3 visible images of 3"):
            find_boards(BOARD, [blank] * 3, visible)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("6", "expected COLUMNSxROWS"),
            ("6x5:", "expected COLUMNSxROWS"),
            ("2x5", "3 to 100 columns and rows, got 2x5"),
            ("6x101", "got 6x101"),
            ("6x6", "as many columns as rows"),
            ("6x5:0", "above 0 m, got 0"),
            ("circles:4x10", "the same upside down"),
        ],
    )
    def test_refused_layouts(self, text, words):
        with pytest.raises(ConfigError, match=words):
            Board.parse(text)

    def test_layouts(self):
        assert Board.parse("6x5:0.03") == BOARD
        assert Board.parse("circles:4x11") == Board(4, 11, circles=True)
        np.testing.assert_allclose(BOARD.points[[1, 6]], [[0.03, 0, 0], [0, 0.03, 0]])
        np.testing.assert_allclose(CIRCLES.points[[1, 4]], [[0.024, 0, 0], [0.012, 0.012, 0]])


class TestLens:
    @pytest.mark.parametrize("name", ["infrared", "visible"])
    def test_recovered(self, seen, name):
        """Focal lengths to 1 %; what it projects, to 1.2 pixels (the centre moves too)."""
        truth = getattr(KNOWN, name)
        found = estimate_lens(BOARD, getattr(seen.points, name), truth.size)
        np.testing.assert_allclose(np.diag(found.matrix), np.diag(truth.matrix), rtol=0.01)
        np.testing.assert_allclose(found.distortion[:2], truth.distortion[:2], atol=0.03)
        rays = np.stack(np.meshgrid([-0.3, 0.0, 0.3], [-0.2, 0.0, 0.2]), -1).reshape(-1, 2)
        np.testing.assert_allclose(found.project(rays), truth.project(rays), atol=1.2)

    def test_refuses_few_pairs_and_poses_that_are_alike(self, seen):
        with pytest.raises(CalibrationError, match="see the board: 7, needed 8"):
            estimate_lens(BOARD, seen.points.visible[:7], COLOR.size)
        alike = np.repeat(seen.points.visible[:1], 8, axis=0)
        with pytest.raises(CalibrationError, match=r"within \d degrees .* tilt the board"):
            estimate_lens(BOARD, alike, COLOR.size)

    def test_refuses_points_of_no_lens(self, seen, rng):
        noisy = seen.points.visible + rng.normal(0, 4, seen.points.visible.shape)
        with pytest.raises(CalibrationError, match=r"tilt the board|no lens fits the points"):
            estimate_lens(BOARD, noisy, COLOR.size)


class TestPlane:
    def test_known_lenses_recover_the_homography(self, seen):
        """From one pair: 0.2 pixels at the board, and a pixel in the image's corners."""
        points = seen.points.map(lambda pixels: pixels[:1])
        found = fit_plane(points, KNOWN, COLOR.size)
        assert found.held_out_px is None
        assert found.residual_px == found.median_px < 0.2
        truth = Homography(plane_homography(*next(iter(poses()))), *KNOWN)
        corners = np.array([[60, 40], [340, 40], [60, 260], [340, 260]], np.float64)
        moved = found.geometry.to_infrared(corners)
        np.testing.assert_allclose(moved, truth.to_infrared(corners), atol=1)
        bent = fit_plane(points, UNKNOWN, COLOR.size)
        assert bent.median_px > 3 * found.median_px

    def test_a_corner_that_is_wrong_changes_little(self, seen):
        points = seen.points.map(lambda pixels: pixels[:1].copy())
        points.visible[0, 7] += 20
        found = fit_plane(points, KNOWN, COLOR.size)
        assert found.median_px < 0.3
        assert found.max_px == pytest.approx(20 * 2**0.5, abs=1)

    def test_pairs_held_out_show_parallax(self, seen):
        """Poses at several distances: each homography is wrong for the others."""
        found = fit_plane(seen.points, KNOWN, COLOR.size)
        assert found.residual_px == found.held_out_px > 1

    def test_refuses_a_small_board(self, seen):
        points = seen.points.map(lambda pixels: pixels[:1] / 4)
        with pytest.raises(CalibrationError, match=r"covers .* % of the visible image"):
            fit_plane(points, UNKNOWN, COLOR.size)

    def test_refuses_a_large_residual(self, seen):
        points = Both(seen.points.infrared, np.roll(seen.points.visible, 1, axis=0))
        with pytest.raises(CalibrationError, match=r"differ by .* pixels \(at most 2\.5\)"):
            fit_plane(points, UNKNOWN, COLOR.size)


def test_cameras_are_placed(seen):
    found = fit_cameras(BOARD, seen.points, KNOWN, 0.5)
    np.testing.assert_allclose(found.geometry.rotation, RIG.rotation, atol=1e-3)
    np.testing.assert_allclose(found.geometry.translation, RIG.translation, atol=5e-4)
    assert found.held_out_px < 0.2
    assert found.geometry.distance_m == 0.5


class TestLensesOfAHomography:
    matrix = plane_homography(*next(iter(poses())))

    def test_one_map_through_both_lenses(self):
        """Points of a plane, by projectPoints: where visible sees one, infrared is looked up."""
        points = board_points(count=1)[0]
        infrared = projected(THERMAL, points @ RIG.rotation.T + RIG.translation)
        visible = projected(COLOR, points)
        homography = Homography(self.matrix, *KNOWN)
        np.testing.assert_allclose(homography.to_infrared(visible), infrared, atol=1e-3)
        np.testing.assert_allclose(homography.to_visible(infrared), visible, atol=1e-3)

    @pytest.mark.parametrize("lenses", [(THERMAL, None), (None, COLOR)])
    def test_one_lens_alone(self, lenses):
        infrared, visible = lenses
        points = np.array([[100.0, 80.0], [220.0, 150.0]])
        straight = cv2.undistortPoints(
            points, COLOR.matrix, np.array(COLOR.distortion), P=COLOR.matrix
        )
        moved = cv2.perspectiveTransform(
            straight if visible else points[:, None], np.linalg.inv(self.matrix)
        )[:, 0]
        if infrared:
            rays = np.column_stack((moved - THERMAL.matrix[:2, 2], np.ones(2)))
            rays[:, :2] /= np.diag(THERMAL.matrix)[:2]
            moved = projected(THERMAL, rays)
        found = Homography(self.matrix, infrared, visible).to_infrared(points)
        np.testing.assert_allclose(found, moved, atol=0.01)

    def test_the_board_is_registered(self, images):
        """The drawn infrared board, warped once, lies on the visible one."""
        calibration = Calibration(Homography(self.matrix, *KNOWN), THERMAL.size, COLOR.size)
        infrared, visible = (camera[0] for camera in images)
        warped = Registrar(calibration).warp(infrared.shape, visible.shape)(infrared)
        found = find_boards(BOARD, [warped], [visible]).points
        assert np.abs(found.infrared - found.visible).max() < 0.5

    def test_the_file_keeps_them(self, tmp_path):
        path = tmp_path / "c.yaml"
        geometry = Homography(self.matrix, THERMAL, COLOR)
        write_calibration(Calibration(geometry, THERMAL.size, COLOR.size), path)
        found = read_calibration(path).geometry
        pixels = np.array([[10.0, 20.0], [300.0, 200.0]])
        np.testing.assert_array_equal(found.to_infrared(pixels), geometry.to_infrared(pixels))

    def test_another_size_is_refused(self):
        other = Intrinsics((160, 128), THERMAL.matrix, THERMAL.distortion)
        calibration = Calibration(Homography(np.eye(3), other), THERMAL.size, COLOR.size)
        with pytest.raises(ConfigError, match="infrared camera's intrinsics are for 160x128"):
            Registrar(calibration)


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for name, camera in zip(("ir", "vi"), images, strict=True):
        (root / name).mkdir()
        for i, image in enumerate(camera):
            write_image(root / name / f"{i}.png", image)
    return ["--ir", str(root / "ir"), "--vi", str(root / "vi")]


class TestCommand:
    def test_lenses_and_a_homography(self, files, tmp_path, capfd):
        out, report = tmp_path / "c.yaml", tmp_path / "c.json"
        options = ["--board", "6x5", "--out", str(out), "--json", str(report)]
        assert cli.main(["calibrate", *files, *options]) == 0
        geometry = read_calibration(out).geometry
        for name in ("infrared", "visible"):
            lens, truth = getattr(geometry, name), getattr(KNOWN, name)
            np.testing.assert_allclose(np.diag(lens.matrix), np.diag(truth.matrix), rtol=0.01)
        numbers = json.loads(report.read_text())
        assert (numbers["boards_infrared"], numbers["pairs_used"]) == (10, 10)
        printed = capfd.readouterr().out
        assert "board 6x5: infrared 10, visible 10, both 10 of 10 pairs, chosen from 10" in printed
        assert f"{numbers['held_out_px']:.2f} in pairs held out" in printed

    def test_both_cameras_at_a_distance(self, files, tmp_path):
        """Everything from the board: points 1 m away are found to 1.2 pixels."""
        out = tmp_path / "c.yaml"
        options = ["--board", "6x5:0.03", "--distance", "1", "--out", str(out)]
        assert cli.main(["calibrate", *files, *options]) == 0
        points = np.array([[0.0, 0, 1], [0.2, 0.1, 1], [-0.2, 0.15, 1]])
        found = read_calibration(out).geometry.to_infrared(projected(COLOR, points))
        truth = projected(THERMAL, points @ RIG.rotation.T + RIG.translation)
        np.testing.assert_allclose(found, truth, atol=1.2)

    def test_from_a_bag(self, files, tmp_path, capfd):
        """All pairs, not the six that edges take; the homography of the files."""
        _, infrared, _, visible = files
        write_pairs(find_pairs(Path(infrared), Path(visible)), 15, tmp_path / "bag")
        found = {}
        for name, source in (("files", files), ("bag", [str(tmp_path / "bag")])):
            out = tmp_path / f"{name}.yaml"
            assert cli.main(["calibrate", *source, "--board", "6x5", "--out", str(out)]) == 0
            found[name] = read_calibration(out).geometry.matrix
        np.testing.assert_allclose(found["bag"], found["files"], rtol=1e-6)
        assert "both 10 of 10 pairs" in capfd.readouterr().out

    def test_distance_needs_lenses(self, images, tmp_path, capfd):
        for name, camera in zip(("ir", "vi"), images, strict=True):
            write_image(tmp_path / f"{name}.png", camera[0])
        files = ["--ir", str(tmp_path / "ir.png"), "--vi", str(tmp_path / "vi.png")]
        options = ["--board", "6x5:0.03", "--distance", "1", "--out", str(tmp_path / "c.yaml")]
        assert cli.main(["calibrate", *files, *options]) == 1
        error = capfd.readouterr().err
        assert error.startswith("dreamif: --distance needs both lenses (infrared: none, pairs in")
        assert len(error.splitlines()) == 1
        assert not (tmp_path / "c.yaml").exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--distance", "1"], "--ir-camera, --vi-camera and --distance go with --board only"),
            (["--board", "6x5", "--distance", "1"], "such as --board 6x5:0.03"),
            (["--board", "6x5:1", "--distance", "-1"], "--distance must be above 0 m, got -1"),
            (["--board", "x"], "the board is 'x', expected COLUMNSxROWS"),
        ],
    )
    def test_wrong_calls_are_status_2(self, options, words, files, tmp_path, capfd):
        assert cli.main(["calibrate", *files, "--out", str(tmp_path / "c"), *options]) == 2
        assert words in capfd.readouterr().err

    def test_a_lens_of_another_size(self, files, tmp_path, capfd):
        options = ["--board", "6x5", "--out", str(tmp_path / "c.yaml")]
        lens = lens_file(tmp_path / "ost.yaml", (640, 512), (380, 380, 320, 256))
        assert cli.main(["calibrate", *files, *options, "--ir-camera", str(lens)]) == 2
        assert "is for images of 640x512, but the infrared images are 320x256" in (
            capfd.readouterr().err
        )


def lens_file(path, size, intrinsic, distortion=(0.0,) * 5):
    fx, fy, cx, cy = intrinsic
    content = {
        "image_width": size[0],
        "image_height": size[1],
        "camera_matrix": {"data": [fx, 0, cx, 0, fy, cy, 0, 0, 1]},
        "distortion_coefficients": {"data": list(distortion)},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def real_lenses(folder, to):
    """The options with the lenses of the real pair, as files."""
    numbers = {}
    for name in ("rgb", "thermal"):
        numbers |= yaml.safe_load((folder / f"{name}_intrinsic.txt").read_text())
    bent = numbers["thermal_distortion"]
    infrared = lens_file(to / "ir.yaml", (640, 512), numbers["thermal_intrinsic"], bent)
    visible = lens_file(to / "vi.yaml", (640, 480), numbers["rgb_intrinsic"])
    return ["--ir-camera", str(infrared), "--vi-camera", str(visible)]


def test_a_real_pair(pairs_root, tmp_path):
    """Thermal corners are blurred, so the maximum is some pixels."""
    real = pairs_root.parent / "calibration"
    if not real.is_dir():
        pytest.skip(f"needs the real pair of a board in {real}")
    lenses = real_lenses(real, tmp_path)
    report = {}
    for known in (False, True):
        out, numbers_file = tmp_path / f"{known}.yaml", tmp_path / f"{known}.json"
        options = ["--board", "6x5", "--out", str(out), "--json", str(numbers_file)]
        options += lenses if known else []
        files = ["--ir", str(real / "ir"), "--vi", str(real / "vi")]
        assert cli.main(["calibrate", *files, *options]) == 0
        report[known] = json.loads(numbers_file.read_text())
    assert report[True]["median_px"] < 1 < report[False]["median_px"] < 1.5
    assert report[True]["max_px"] < 6
    assert report[True]["alignment_score_after"] > 0.6
