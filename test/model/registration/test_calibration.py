"""Estimates against known homographies and clock offsets, refusals, and `dreamif calibrate`."""

import json
import math

import cv2
import numpy as np
import pytest
import yaml
from helpers.bag_files import START_NS, Street, compressed, street_messages, write_bag, write_pairs

from dreamif_model import FusionPipeline
from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.image_files import find_pairs, read_gray, read_image, write_image
from dreamif_model.registration.alignment import alignment_score
from dreamif_model.registration.calibration_file import read_calibration
from dreamif_model.registration.clock_offset import Activity, clock_offset
from dreamif_model.registration.estimate import MAX_PAIRS, align
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros import cli
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli import calibrate
from dreamif_ros.evaluation.footage import read_bag
from dreamif_ros.scene import Scene, SceneConfig

LUMA = np.array((0.299, 0.587, 0.114), np.float32)
FULL = (640, 480)


def placed(infrared_size, visible_size, shift=(0, 0), degrees=0.0, scale=1.0):
    """Infrared to visible pixel; scale 1 lets infrared just cover the visible image."""
    fit = max(v / i for v, i in zip(visible_size, infrared_size, strict=True)) * scale
    cos, sin = (fit * f(math.radians(degrees)) for f in (math.cos, math.sin))
    linear = np.array([[cos, -sin], [sin, cos]])
    centres = [(np.array(size) - 1) / 2 for size in (infrared_size, visible_size)]
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centres[1] + shift - linear @ centres[0]
    return matrix


def corner_error(found, truth, infrared_size):
    """Mean distance in visible pixels at the infrared image's corners."""
    width, height = infrared_size
    corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    points = np.array([corners], np.float64)
    moved = [cv2.perspectiveTransform(points, matrix)[0] for matrix in (found, truth)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).mean())


def texture(seed, shape=(240, 320)):
    """Random rectangles and fine grain, (H, W) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, 0.5, np.float32)
    for _ in range(60):
        x, y = rng.integers(0, shape[1]), rng.integers(0, shape[0])
        w, h = rng.integers(8, shape[1] // 4, 2)
        box = cv2.boxPoints(((float(x), float(y)), (float(w), float(h)), rng.uniform(0, 90)))
        cv2.fillPoly(image, [box.astype(np.int32)], rng.uniform(0, 1))
    grain = rng.normal(0, 0.02, shape).astype(np.float32)
    return (cv2.GaussianBlur(image, (0, 0), 1) + grain).clip(0, 1)


def thermal_of(image, matrix, size):
    """What an infrared camera would make of it: moved, inverted, of another gradation."""
    moved = cv2.warpPerspective(
        image, np.linalg.inv(matrix), size, borderMode=cv2.BORDER_REFLECT
    ).astype(np.float32)
    return (1 - moved) ** 1.5


class TestAlign:
    # More of them, at full resolution: benchmarks/registration.py.
    @pytest.mark.parametrize(
        ("seed", "infrared_size", "shift", "degrees", "scale"),
        [
            (0, FULL, (40, -40), 5.0, 0.8),
            (1, FULL, (-40, 40), -5.0, 1.25),
            (2, (320, 256), (-25, 10), 2.5, 1.1),
        ],
    )
    def test_simulated_cameras(self, seed, infrared_size, shift, degrees, scale):
        truth = placed(infrared_size, FULL, shift, degrees, scale)
        scene = Scene(
            SceneConfig(seed, FULL, infrared_size, homography=tuple(map(tuple, truth.tolist())))
        )
        normalizer = ThermalNormalizer()
        found = align(
            [normalizer.normalize(scene.infrared(0.5))],
            [scene.visible(0.5) @ LUMA / np.float32(255)],
            finest_width=320,
        )
        assert corner_error(found.homography, truth, infrared_size) < 2
        assert 0 < found.residual_px < 6
        assert found.agreement > 0.3

    @pytest.mark.parametrize(
        ("shift", "degrees", "scale"), [((0, 0), 0, 1), ((17, -12), -4, 1.2), ((-20, 9), 3, 0.85)]
    )
    def test_inverted_textures(self, shift, degrees, scale):
        truth = placed((320, 240), (320, 240), shift, degrees, scale)
        visible = texture(1)
        found = align([thermal_of(visible, truth, (320, 240))], [visible])
        assert corner_error(found.homography, truth, (320, 240)) < 0.5
        assert found.residual_px < 1

    def test_a_perspective(self):
        truth = placed((160, 120), (320, 240), (6, 4), 2)
        truth[2, :2] = 2e-4, -1.5e-4
        visible = texture(2)
        found = align([thermal_of(visible, truth, (160, 120))], [visible])
        assert corner_error(found.homography, truth, (160, 120)) < 1

    @pytest.mark.parametrize(("folder", "name"), [("tno", "16.png"), ("roadscene", "FLIR_04625")])
    def test_real_pairs_move_as_they_are_moved(self, pairs_root, folder, name):
        """The truth of these pairs is not known to a pixel; what a known warp adds is."""
        pair = next(
            p
            for p in find_pairs(pairs_root / folder / "ir", pairs_root / folder / "vi")
            if p.visible.name.startswith(name)
        )
        images = [read_gray(path) for path in (pair.infrared, pair.visible)]
        infrared, visible = (image.astype(np.float32) / 255 for image in images)
        size = visible.shape[1], visible.shape[0]
        warp = placed(size, size, (15, -10), 3, 1.15)
        moved = cv2.warpPerspective(
            infrared, np.linalg.inv(warp), size, borderMode=cv2.BORDER_REFLECT
        )
        before = align([infrared], [visible], 320)
        after = align([moved.astype(np.float32)], [visible], 320)
        expected = before.homography @ warp
        assert corner_error(after.homography, expected, size) < 2

    def test_at_most_some_pairs_are_looked_at(self):
        visible = texture(3, (96, 128))
        many = align([1 - visible] * 20, [visible] * 20)
        few = align([1 - visible] * MAX_PAIRS, [visible] * MAX_PAIRS)
        np.testing.assert_array_equal(many.homography, few.homography)

    @pytest.mark.parametrize(
        ("infrared", "visible"),
        [
            (np.zeros((96, 128)), texture(4, (96, 128))),
            (np.zeros((96, 128)), np.ones((96, 128))),
            (texture(5, (96, 128)), texture(6, (96, 128))),
            (
                np.random.default_rng(0).random((96, 128)),
                np.random.default_rng(1).random((96, 128)),
            ),
        ],
        ids=["blank infrared", "both blank", "unrelated", "noise"],
    )
    @pytest.mark.parametrize("count", [1, 3])
    def test_refuses_what_does_not_tell(self, infrared, visible, count):
        """Three of the same too: agreeing with oneself is no evidence."""
        with pytest.raises(CalibrationError, match=r"(agree no better|say different things)"):
            align([infrared.astype(np.float32)] * count, [visible.astype(np.float32)] * count)

    def test_refuses_two_answers(self):
        """One half of the checkerboard's squares moved by (12, 8), the other by (-12, -8)."""
        visible = texture(7)
        squares = np.indices((240, 320)) // 40
        odd = squares.sum(axis=0) % 2 == 1
        moved = [np.roll(visible, (-s * 8, -s * 12), (0, 1)) for s in (1, -1)]
        with pytest.raises(CalibrationError, match=r"say different things.*at most 4\.0"):
            align([np.where(odd, *moved).astype(np.float32)], [visible])

    @pytest.mark.parametrize(
        ("infrared", "visible", "error", "words"),
        [
            ([], [], CalibrationError, "no infrared images"),
            ([(64, 64)], [(64, 64), (64, 64)], ImageError, "are no pairs"),
            ([(64, 64), (64, 80)], [(64, 64)] * 2, ImageError, "of one size.*in one mode"),
            ([(8, 64)], [(64, 64)], ImageError, "expected 32 pixels or more"),
        ],
    )
    def test_refuses_sizes(self, infrared, visible, error, words):
        with pytest.raises(error, match=words):
            align(
                *([np.zeros(shape, np.float32) for shape in each] for each in (infrared, visible))
            )


class TestScore:
    def test_range(self):
        image = texture(8)
        assert alignment_score(image, image) == pytest.approx(1, abs=1e-5)
        assert alignment_score(1 - image, image) == pytest.approx(1, abs=1e-5)
        assert alignment_score(texture(9), image) == pytest.approx(0, abs=0.1)
        assert alignment_score(np.zeros_like(image), image) == 0

    def test_perpendicular_edges_are_below_chance(self):
        columns = np.tile(np.sin(np.arange(240) / 4, dtype=np.float32) / 2 + 0.5, (240, 1))
        assert alignment_score(columns.T.copy(), columns) < -0.5

    def test_falls_with_the_shift(self):
        image = texture(8, (480, 640))
        scores = [alignment_score(np.roll(image, n, 1), image) for n in (0, 3, 6, 12, 24)]
        assert scores == sorted(scores, reverse=True)
        assert scores[3] < scores[0] / 2

    def test_8_bit_images_too(self):
        first, second = (np.rint(255 * texture(seed)).astype(np.uint8) for seed in (8, 9))
        exact = alignment_score(*(np.float32(image) / 255 for image in (first, second)))
        assert alignment_score(first, second) == pytest.approx(exact, abs=1e-5)


def walkers(times, seed=0, shape=(60, 80), inverted=False):
    """Bright dots that wander over a background, one image per time."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6, (5, 2)), rng.uniform(0.5, 2, (5, 2))
    background = texture(seed + 50, shape) / 4
    images = []
    for time in times:
        image = background.copy()
        for phase, speed in zip(phases, speeds, strict=True):
            x, y = (0.5 + 0.45 * np.sin(phase + speed * time)) * (shape[1], shape[0])
            cv2.circle(image, (round(float(x)), round(float(y))), 4, 1.0, -1)
        images.append(1 - image if inverted else image)
    return images


def activity_of(stamps_s, images):
    activity = Activity()
    for stamp, image in zip(stamps_s, images, strict=True):
        activity.add(stamp, image)
    return activity


class TestClockOffset:
    times = np.arange(0, 8, 1 / 15)

    @pytest.mark.parametrize("offset", [0.0, 0.137, -0.42])
    def test_what_to_add_to_infrared_stamps(self, offset):
        """Infrared at 12 Hz, whose clock is behind by ``offset``."""
        infrared_times = np.arange(0.01, 8, 1 / 12)
        infrared = activity_of(infrared_times - offset, walkers(infrared_times, inverted=True))
        found = clock_offset(infrared, activity_of(self.times, walkers(self.times)))
        assert found.seconds == pytest.approx(offset, abs=0.02)
        assert found.residual_s < 0.03
        assert found.correlation > 0.6

    def test_simulated_cameras(self):
        """Beams run ahead of their cars: the simulated street gives up to 25 ms less."""
        size = (160, 120)
        scene = Scene(SceneConfig(3, size, size))
        times = self.times[:90]
        infrared = activity_of(times - 0.2, [scene.infrared(t) for t in times])
        visible = activity_of(times, [scene.visible(t) @ LUMA for t in times])
        assert clock_offset(infrared, visible).seconds == pytest.approx(0.2, abs=0.04)

    def test_refuses_other_motion(self):
        cameras = [activity_of(self.times, walkers(self.times, seed)) for seed in (1, 2)]
        with pytest.raises(CalibrationError, match="clock"):
            clock_offset(*cameras)

    def test_refuses_an_offset_beyond_a_second(self):
        visible = activity_of(self.times, walkers(self.times))
        infrared = activity_of(self.times - 2.5, walkers(self.times))
        with pytest.raises(CalibrationError, match="clock"):
            clock_offset(infrared, visible)

    def test_refuses_without_motion(self):
        moving = activity_of(self.times, walkers(self.times))
        still = activity_of(self.times, [texture(0, (60, 80))] * len(self.times))
        with pytest.raises(CalibrationError, match="nothing moves in the infrared"):
            clock_offset(still, moving)

    @pytest.mark.parametrize("count", [0, 1, 30])
    def test_refuses_short_recordings(self, count):
        short = activity_of(self.times[:count], walkers(self.times[:count]))
        with pytest.raises(CalibrationError, match=r"the infrared images span .* needs 3 s"):
            clock_offset(short, activity_of(self.times, walkers(self.times)))

    @pytest.mark.parametrize("jump_s", [3600, 1.7e9])
    def test_refuses_stamps_that_jump(self, jump_s):
        """A clock that is set while recording: what is between has no images, nor memory."""
        images, visible = walkers(self.times), activity_of(self.times, walkers(self.times))
        times = self.times + jump_s * (self.times > 4)
        reason = rf"infrared images span {jump_s + 8:.0f} s and jump by up to {jump_s:.0f} s \("
        with pytest.raises(CalibrationError, match=reason):
            clock_offset(activity_of(times, images), visible)

    def test_a_stamp_that_came_twice_is_left_out(self):
        times = [0.0, 0.1, 0.1, 0.05, 0.2]
        activity = activity_of(times, walkers(times))
        assert activity.stamps_s == pytest.approx([0.05, 0.15])


class TestCommand:
    size = (160, 120)
    truth = placed(size, size, (6, -4), 2, 1.05)

    def folders(self, root, count, delay=0.0):
        """Pairs at 15 Hz; infrared is inverted and shows what comes ``delay`` seconds later."""
        background = texture(11, self.size[::-1])
        times = np.arange(count) / 15
        for name, begin in (("ir", delay), ("vi", 0.0)):
            (root / name).mkdir()
            for i, dots in enumerate(walkers(times + begin, 4, self.size[::-1])):
                image = np.maximum(background * 0.7, np.where(dots > 0.9, 1, 0)).astype(np.float32)
                if name == "ir":
                    image = thermal_of(image, self.truth, self.size)
                gray = np.rint(image * 255).clip(0, 255).astype(np.uint8)
                rgb = np.repeat(gray[..., None], 3, axis=2) if name == "vi" else gray
                write_image(root / name / f"{i:03}.png", rgb)
        return ["--ir", str(root / "ir"), "--vi", str(root / "vi")]

    def test_from_files(self, tmp_path, capfd):
        files = self.folders(tmp_path, 3)
        out, report, picture = (tmp_path / n for n in ("c.yaml", "c.json", "c.png"))
        options = ["--out", str(out), "--json", str(report), "--picture", str(picture)]
        assert cli.main(["calibrate", *files, *options]) == 0
        calibration = read_calibration(out)
        assert corner_error(calibration.geometry.matrix, self.truth, self.size) < 1
        assert calibration.infrared_size == calibration.visible_size == self.size
        assert calibration.clock_offset_s is None
        numbers = json.loads(report.read_text())
        assert calibration.residual_px == pytest.approx(numbers["residual_px"], abs=1e-3)
        assert numbers["alignment_score_after"] > numbers["alignment_score_before"] + 0.2
        assert numbers["clock_offset_s"] is None
        printed = capfd.readouterr().out
        assert f"residual: {numbers['residual_px']:.2f} px" in printed
        assert "from 3 of 3 pairs" in printed
        assert read_image(picture).shape == (28 + 480, 1280, 3)

    def test_fuse_takes_the_calibration(self, tmp_path):
        files = self.folders(tmp_path, 1)
        out = tmp_path / "c.yaml"
        assert cli.main(["calibrate", *files, "--out", str(out)]) == 0
        options = ["--variant", "average", "--device", "cpu", "--calibration", str(out)]
        assert cli.main(["fuse", *files, "--out", str(tmp_path / "fused"), *options]) == 0
        pipeline = FusionPipeline("average", "cpu", registration=read_calibration(out))
        visible, infrared = (read_image(tmp_path / name / "000.png") for name in ("vi", "ir"))
        np.testing.assert_array_equal(
            read_image(tmp_path / "fused" / "000.png"), pipeline.fuse(visible, infrared).fused
        )

    def test_from_a_bag(self, tmp_path, capfd):
        """Infrared shows what visible shows 0.2 s later: its stamps are 0.2 s too early."""
        self.folders(tmp_path, 75, delay=0.2)
        write_pairs(find_pairs(tmp_path / "ir", tmp_path / "vi"), 15, tmp_path / "bag")
        out = tmp_path / "c.yaml"
        assert cli.main(["calibrate", str(tmp_path / "bag"), "--out", str(out)]) == 0
        calibration = read_calibration(out)
        assert calibration.clock_offset_s == pytest.approx(0.2, abs=0.03)
        assert corner_error(calibration.geometry.matrix, self.truth, self.size) < 1
        assert f"clock offset: {calibration.clock_offset_s:+.3f}" in capfd.readouterr().out

    def test_a_bag_without_motion_has_no_offset(self, tmp_path, capfd):
        self.folders(tmp_path, 1)
        write_pairs(find_pairs(tmp_path / "ir", tmp_path / "vi") * 3, 15, tmp_path / "bag")
        out = tmp_path / "c.yaml"
        assert cli.main(["calibrate", str(tmp_path / "bag"), "--out", str(out)]) == 0
        assert "clock_offset_s" not in yaml.safe_load(out.read_text())
        assert "clock offset: none, the infrared images span 0.1 s" in capfd.readouterr().out

    def test_blank_images_are_status_1_and_write_nothing(self, tmp_path, capfd):
        for name in ("ir", "vi"):
            write_image(tmp_path / f"{name}.png", np.full((64, 64), 90, np.uint8))
        files = ["--ir", str(tmp_path / "ir.png"), "--vi", str(tmp_path / "vi.png")]
        assert cli.main(["calibrate", *files, "--out", str(tmp_path / "c.yaml")]) == 1
        error = capfd.readouterr().err.strip()
        assert error.startswith("dreamif: the edges of both cameras agree no better than chance")
        assert len(error.splitlines()) == 1
        assert not (tmp_path / "c.yaml").exists()

    def test_compressed_topics_of_a_cut_bag_are_found(self, tmp_path, capfd):
        """As `dreamif bag info` finds them; infrared stamps are 84 ms too early."""
        street, topics = Street((160, 120)), ("/flir/image/compressed", "/cam/image/compressed")

        def messages():
            for n in range(START_NS, START_NS + 8 * 10**9, 10**9 // 15):
                seen = [street.infrared(n / 1e9), street.visible(n / 1e9)]
                stamps = n - 84_000_000, n
                for topic, pixels, stamp in zip(topics, seen, stamps, strict=True):
                    yield topic, n, *compressed(pixels, stamp)

        write_bag(tmp_path / "bag", messages())
        file = tmp_path / "bag" / "bag.mcap"
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 7 // 8])
        out = tmp_path / "c.yaml"
        assert cli.main(["calibrate", str(tmp_path / "bag"), "--out", str(out)]) == 0
        assert read_calibration(out).clock_offset_s == pytest.approx(0.084, abs=0.01)
        assert "fault: bag.mcap is cut off: its end is missing" in capfd.readouterr().out

    def test_pixels_that_are_no_number_do_not_hide_the_offset(self, tmp_path):
        class Degrees(Street):
            def infrared(self, time_s):
                image = (super().infrared(time_s) / 100 - 273.15).astype(np.float32)
                image[5, 7] = np.nan if time_s % 2 < 1 else np.inf
                return image

        street = Degrees((160, 120))
        bag = write_bag(tmp_path / "bag", street_messages(5, 15, street, -0.084))
        assert read_bag(bag).clock_offset.seconds == pytest.approx(0.084, abs=0.01)

    def test_a_topic_that_is_not_there(self, tmp_path, capfd):
        self.folders(tmp_path, 1)
        write_pairs(find_pairs(tmp_path / "ir", tmp_path / "vi"), 15, tmp_path / "bag")
        options = ["--out", str(tmp_path / "c.yaml"), "--ir-topic", "/thermal"]
        assert cli.main(["calibrate", str(tmp_path / "bag"), *options]) == 1
        assert "there are no images on /thermal: image topics in this bag: /infrared/image_raw" in (
            capfd.readouterr().err
        )

    def test_topics_that_are_not_clear_are_to_be_named(self, tmp_path):
        seen = [(t[:3], n, *message) for t, n, *message in street_messages(1)]
        write_bag(tmp_path / "bag", [*seen, *((f"/other{t}", *more) for t, *more in seen)])
        with pytest.raises(BagError, match=r"such as --ir-topic /in --vi-topic /other/vi$"):
            read_bag(tmp_path / "bag")

    @pytest.mark.parametrize("option", ["--out", "--json", "--picture"])
    def test_what_cannot_be_written_is_refused_at_once(self, option, tmp_path, monkeypatch, capfd):
        monkeypatch.setattr(calibrate, "read_files", lambda *_: pytest.fail("too late"))
        files = ["--ir", "a.png", "--vi", "b.png", "--out", str(tmp_path / "c.yaml")]
        assert cli.main(["calibrate", *files, option, "/nowhere/x.png"]) == 2
        assert (
            capfd.readouterr().err == f"dreamif: {option} /nowhere/x.png: make its folder first\n"
        )

    @pytest.mark.parametrize("arguments", [[], ["bag", "--ir", "a", "--vi", "b"], ["--ir", "a"]])
    def test_a_wrong_call_is_status_2(self, tmp_path, arguments, capfd):
        assert cli.main(["calibrate", *arguments, "--out", str(tmp_path / "c.yaml")]) == 2
        assert "give either BAG, or both --ir and --vi" in capfd.readouterr().err
