"""`dreamif bag make`: every pixel and stamp of files, videos and data sets, and what is refused."""

import json
import subprocess
import sys
import weakref
from itertools import pairwise

import cv2
import numpy as np
import pytest
from helpers.pair_files import make_pairs
from helpers.videos import write_clip
from rosbags.highlevel import AnyReader

from dreamif_model.cameras import Both
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import find_pairs, read_gray, read_rgb, write_image
from dreamif_model.training.data import LAYOUTS
from dreamif_ros.bag.image_sources import (
    ImageSource,
    Shot,
    image_files,
    open_data_set,
    open_images,
)
from dreamif_ros.bag.make import make_bag
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli import main
from dreamif_ros.codec.decode import decode_infrared, decode_visible, stamp_ns

INFRARED, VISIBLE = "/infrared/image_raw", "/visible/image_raw"
INFO = "/visible/camera_info"


def read(bag):
    """{topic: [(time recorded, message)]} in the order in which they stand in the bag."""
    found = {}
    with AnyReader([bag]) as reader:
        for connection, time_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def stamps(recorded):
    return [stamp_ns(message) for _, message in recorded]


@pytest.fixture
def videos(tmp_path, rng):
    """Six frames of 16-bit infrared at 10 Hz, nine of colour at 20 Hz, and their paths."""
    infrared = [rng.integers(0, 65536, (24, 32), np.uint16) for _ in range(6)]
    visible = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(9)]
    paths = (
        write_clip(tmp_path / "ir.mkv", infrared, 10),
        write_clip(tmp_path / "vi.mkv", visible, 20),
    )
    return infrared, visible, paths


def make(*arguments):
    return main(["bag", "make", *map(str, arguments)])


def refused(capfd, *arguments, status=1):
    """The one line that says why, and nothing is left."""
    assert make(*arguments) == status
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.out == ""
    return captured.err


class TestFiles:
    @pytest.mark.parametrize(("depth", "encoding"), [(np.uint8, "mono8"), (np.uint16, "mono16")])
    def test_every_pixel_and_header_comes_back(self, tmp_path, rng, depth, encoding):
        for name, shape, kind in (("ir", (24, 33), depth), ("vi", (48, 64, 3), np.uint8)):
            (tmp_path / name).mkdir()
            for index in range(4):
                image = rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
                write_image(tmp_path / name / f"{index}.png", image)
        pairs = find_pairs(tmp_path / "ir", tmp_path / "vi")
        written = make_bag(image_files(pairs, 30.0), tmp_path / "bag")
        assert [camera.count for camera in written] == [4, 4]
        found = read(tmp_path / "bag")
        expected = [1_000_000_000 + round(index * 1e9 / 30) for index in range(4)]
        for topic, frame in ((INFRARED, "infrared"), (VISIBLE, "visible"), (INFO, "visible")):
            assert stamps(found[topic]) == [time for time, _ in found[topic]] == expected
            assert {m.header.frame_id for _, m in found[topic]} == {f"{frame}_optical"}
        for index, pair in enumerate(pairs):
            infrared, visible, info = (found[t][index][1] for t in (INFRARED, VISIBLE, INFO))
            assert (infrared.encoding, visible.encoding) == (encoding, "rgb8")
            np.testing.assert_array_equal(decode_infrared(infrared), read_gray(pair.infrared))
            np.testing.assert_array_equal(decode_visible(visible), read_rgb(pair.visible))
            assert (info.width, info.height, info.k.any()) == (64, 48, False)

    def test_the_same_files_give_the_same_bytes(self, tmp_path):
        folder = make_pairs(tmp_path / "images", 3)
        for name in ("a", "b"):
            cameras = open_images(folder / "ir", folder / "vi", 5.0)
            make_bag(cameras, tmp_path / name / "bag")
        for file in ("metadata.yaml", "bag.mcap"):
            one, other = (tmp_path / name / "bag" / file for name in ("a", "b"))
            assert one.read_bytes() == other.read_bytes()

    def test_existing_output_is_left_alone(self, tmp_path):
        folder = make_pairs(tmp_path / "images", 1)
        (tmp_path / "bag").mkdir()
        with pytest.raises(BagError, match="exists already"):
            make_bag(open_images(folder / "ir", folder / "vi", 5.0), tmp_path / "bag")
        assert list((tmp_path / "bag").iterdir()) == []

    @pytest.mark.parametrize("rate", [0, -1, 1000.1, float("nan"), float("inf")])
    def test_impossible_rates_are_refused(self, tmp_path, rate):
        folder = make_pairs(tmp_path, 1)
        with pytest.raises(ConfigError, match="more than 0 to 1000 Hz"):
            open_images(folder / "ir", folder / "vi", rate)

    def test_an_unreadable_image_leaves_nothing_behind(self, tmp_path):
        folder = make_pairs(tmp_path / "images", 3)
        (folder / "vi" / "02.png").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"02\.png"):
            make_bag(open_images(folder / "ir", folder / "vi", 5.0), tmp_path / "out" / "bag")
        assert list((tmp_path / "out").iterdir()) == []

    def test_no_images_are_no_bag(self, tmp_path):
        with pytest.raises(ImageError, match="no pair of images"):
            make_bag(ImageSource(Both(iter(()), iter(()))), tmp_path / "out" / "bag")
        assert list((tmp_path / "out").iterdir()) == []

    def test_one_image_of_each_is_in_memory(self, tmp_path):
        alive, most = set(), 0

        def shots(camera):
            nonlocal most
            for index in range(40):
                image = np.full((8, 8, 3) if camera else (8, 8), index, np.uint8)
                alive.add((camera, index))
                weakref.finalize(image, alive.discard, (camera, index))
                most = max(most, len(alive))
                yield Shot(index * 10_000_000, image)
                del image

        make_bag(ImageSource(Both(shots(0), shots(1))), tmp_path / "bag")
        assert most <= 4
        assert len(read(tmp_path / "bag")[VISIBLE]) == 40


class TestVideos:
    def test_frames_keep_their_own_times_and_all_16_bits(self, videos, tmp_path, capfd):
        infrared, visible, (ir, vi) = videos
        assert make("--ir", ir, "--vi", vi, "--out", tmp_path / "bag") == 0
        found = read(tmp_path / "bag")
        assert stamps(found[INFRARED]) == [1_000_000_000 + i * 100_000_000 for i in range(6)]
        assert stamps(found[VISIBLE]) == [1_000_000_000 + i * 50_000_000 for i in range(9)]
        assert stamps(found[INFO]) == stamps(found[VISIBLE])
        for frames, topic, decode in (
            (infrared, INFRARED, decode_infrared),
            (visible, VISIBLE, decode_visible),
        ):
            decoded = [decode(message) for _, message in found[topic]]
            np.testing.assert_array_equal(decoded, frames)
        printed = capfd.readouterr()
        assert "infrared: 6 images in 0.50 s, 10.00 Hz" in printed.out
        assert "visible: 9 images in 0.40 s, 20.00 Hz" in printed.out
        assert printed.err == ""

    def test_messages_are_recorded_in_order_of_time(self, videos, tmp_path):
        make_bag(open_images(*videos[2], None), tmp_path / "bag")
        with AnyReader([tmp_path / "bag"]) as reader:
            order = [(time, connection.topic) for connection, time, _ in reader.messages()]
        assert all(one[0] <= other[0] for one, other in pairwise(order))
        images = [topic for _, topic in order if topic != INFO]
        assert images[:4] == [INFRARED, VISIBLE, VISIBLE, INFRARED]

    def test_8_bit_gray_video_is_mono8(self, tmp_path, rng):
        frames = [rng.integers(0, 256, (24, 32), np.uint8) for _ in range(3)]
        path = write_clip(tmp_path / "gray.avi", frames, 10)
        make_bag(open_images(path, path, None), tmp_path / "bag")
        found = read(tmp_path / "bag")
        assert {message.encoding for _, message in found[INFRARED]} == {"mono8"}
        np.testing.assert_array_equal([decode_infrared(m) for _, m in found[INFRARED]], frames)
        for (_, message), frame in zip(found[VISIBLE], frames, strict=True):
            np.testing.assert_array_equal(decode_visible(message), np.dstack([frame] * 3))

    def test_colour_video_of_a_palette_becomes_luma(self, tmp_path):
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[:, :8], frame[:, 8:] = (255, 0, 0), (0, 255, 0)
        path = write_clip(tmp_path / "palette.mkv", [frame] * 2, 10)
        make_bag(open_images(path, path, None), tmp_path / "bag")
        gray = decode_infrared(read(tmp_path / "bag")[INFRARED][0][1])
        assert (gray[0, 0], gray[0, 15]) == (76, 150)  # 0.299 and 0.587 of 255

    def test_with_a_rate_frames_go_together_by_index(self, videos, tmp_path, rng, capfd):
        ir = videos[2][0]
        frames = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(6)]
        vi = write_clip(tmp_path / "six.mkv", frames, 30)
        assert make("--ir", ir, "--vi", vi, "--rate", 4, "--out", tmp_path / "bag") == 0
        found = read(tmp_path / "bag")
        expected = [1_000_000_000 + index * 250_000_000 for index in range(6)]
        assert stamps(found[INFRARED]) == stamps(found[VISIBLE]) == expected
        assert capfd.readouterr().out == f"6 pairs, 1.50 s, in {tmp_path / 'bag'}\n"

    def test_by_index_other_numbers_of_frames_are_refused(self, videos, tmp_path, capfd):
        ir, vi = videos[2]
        out = tmp_path / "out" / "bag"
        error = refused(capfd, "--ir", ir, "--vi", vi, "--rate", 4, "--out", out)
        assert "infrared has 6 images and visible 9" in error
        assert list(out.parent.iterdir()) == []

    def test_what_opencv_cannot_read_is_one_line(self, videos, tmp_path):
        """In a process of its own: FFmpeg asks once how much it may print."""
        whole = tmp_path / "whole.mp4"
        writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
        for frame in videos[1]:
            writer.write(frame)
        writer.release()
        contents = [b"", b"hello" * 100, whole.read_bytes()[:-200]]  # its index is at its end
        broken = [tmp_path / f"broken{index}.mp4" for index in range(len(contents))]
        for path, content in zip(broken, contents, strict=True):
            path.write_bytes(content)
        out = tmp_path / "out" / "bag"
        calls = [["bag", "make", "--ir", p, "--vi", videos[2][1], "--out", out] for p in broken]
        code = (
            "import json, sys; from dreamif_ros.cli import main\n"
            "print([main(call) for call in json.loads(sys.argv[1])])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(calls, default=str)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "[1, 1, 1]\n"
        for line, path in zip(done.stderr.splitlines(), broken, strict=True):
            assert f"dreamif: cannot read the video {path}: " in line
        assert not out.exists()

    def test_a_cut_video_is_written_as_far_as_it_goes_and_said(self, videos, tmp_path, capsys):
        ir, vi = videos[2]
        cut = tmp_path / "cut.mkv"
        whole = ir.read_bytes()
        cut.write_bytes(whole[: len(whole) // 2])
        assert make("--ir", cut, "--vi", vi, "--out", tmp_path / "bag") == 0
        count = len(read(tmp_path / "bag")[INFRARED])
        assert 0 < count < 6
        assert f"{cut} ended after {count} of 6 frames\n" in capsys.readouterr().out

    def test_a_missing_video_and_unlike_sources_are_named(self, videos, tmp_path, capfd):
        vi = videos[2][1]
        out = tmp_path / "out"
        absent = tmp_path / "absent.mp4"
        error = refused(capfd, "--ir", absent, "--vi", vi, "--out", out)
        assert f"no such video file: {absent}" in error
        error = refused(capfd, "--ir", tmp_path, "--vi", vi, "--out", out)
        assert "give two videos, two image files or two folders" in error

    @pytest.mark.parametrize(("offset", "starts"), [(0.25, (1.25, 1.0)), (-0.5, (1.0, 1.5))])
    def test_infrared_offset_moves_its_stamps(self, videos, tmp_path, offset, starts):
        out = tmp_path / "bag"
        ir, vi = videos[2]
        assert make("--ir", ir, "--vi", vi, "--infrared-offset", offset, "--out", out) == 0
        found = read(out)
        assert tuple(stamps(found[t])[0] / 1e9 for t in (INFRARED, VISIBLE)) == starts
        assert np.ptp(stamps(found[INFRARED])) == 500_000_000
        assert (len(found[INFRARED]), len(found[VISIBLE])) == (6, 9)

    @pytest.mark.parametrize("offset", ["3601", "nan", "-inf"])
    def test_impossible_offsets_are_refused(self, videos, tmp_path, capfd, offset):
        ir, vi = videos[2]
        options = ["--ir", ir, "--vi", vi, f"--infrared-offset={offset}", "--out", tmp_path / "bag"]
        assert "expected -3600 to 3600 s" in refused(capfd, *options, status=2)


class TestCompressed:
    @pytest.mark.parametrize("codec", ["jpeg", "png"])
    def test_what_image_transport_would_send(self, tmp_path, codec):
        ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
        colour = np.dstack([ramp, ramp[:, ::-1], np.full_like(ramp, 90)])
        for name, image in (("ir.png", ramp), ("vi.png", colour)):
            write_image(tmp_path / name, image)
        out = tmp_path / "bag"
        files = ["--ir", tmp_path / "ir.png", "--vi", tmp_path / "vi.png"]
        assert make(*files, "--rate", 1, "--compressed", codec, "--out", out) == 0
        found = read(out)
        assert set(found) == {f"{INFRARED}/compressed", f"{VISIBLE}/compressed", INFO}
        infrared = found[f"{INFRARED}/compressed"][0][1]
        visible = found[f"{VISIBLE}/compressed"][0][1]
        assert infrared.format == f"mono8; {codec} compressed "
        assert visible.format == f"rgb8; {codec} compressed bgr8"
        limit = 0 if codec == "png" else 8
        for decoded, image in (
            (decode_infrared(infrared), ramp),
            (decode_visible(visible), colour),
        ):
            assert decoded.shape == image.shape
            assert np.abs(decoded.astype(int) - image).max() <= limit

    def test_16_bit_infrared_is_png_even_then(self, videos, tmp_path):
        infrared, _, (ir, vi) = videos
        out = tmp_path / "bag"
        assert make("--ir", ir, "--vi", vi, "--compressed", "jpeg", "--out", out) == 0
        messages = [message for _, message in read(out)[f"{INFRARED}/compressed"]]
        assert {message.format for message in messages} == {"mono16; png compressed "}
        np.testing.assert_array_equal([decode_infrared(m) for m in messages], infrared)


def levels(bag):
    """The infrared gray level of each pair: which of make_pairs' files it is."""
    return [int(decode_infrared(message)[0, 0]) for _, message in read(bag)[INFRARED]]


class TestDataSets:
    @pytest.mark.parametrize("name", LAYOUTS)
    def test_every_layout_is_written_in_the_order_of_names(self, tmp_path, name):
        training, test = LAYOUTS[name]
        root = tmp_path / "set"
        images = make_pairs(tmp_path / "images", 9)
        files = find_pairs(images / "ir", images / "vi")
        parts = {training: files[1:], test: files[:1]} if test else {training: files}
        for folders, pairs in parts.items():
            for pair in pairs:
                for folder, path in zip(folders, (pair.infrared, pair.visible), strict=True):
                    (root / folder).mkdir(parents=True, exist_ok=True)
                    (root / folder / path.name).write_bytes(path.read_bytes())
        assert make(root, "--rate", 10, "--out", tmp_path / "bag") == 0
        assert levels(tmp_path / "bag") == list(range(9))
        for split, expected in (
            ("train", [1, 2, 3, 4, 5, 6, 7, 8] if test else [1, 2, 3, 4, 5, 6, 7]),
            ("test", [0] if test else [0, 8]),
        ):
            out = tmp_path / split
            assert make(root, "--split", split, "--rate", 10, "--out", out) == 0
            assert levels(out) == expected

    def test_real_pairs(self, pairs_root, tmp_path):
        make_bag(open_data_set(pairs_root / "tno", "test", 5.0), tmp_path / "bag")
        pairs = find_pairs(pairs_root / "tno" / "ir", pairs_root / "tno" / "vi")[::8]
        found = read(tmp_path / "bag")
        assert len(found[INFRARED]) == len(pairs)
        for index, pair in enumerate(pairs):
            infrared, visible = (found[topic][index][1] for topic in (INFRARED, VISIBLE))
            np.testing.assert_array_equal(decode_infrared(infrared), read_gray(pair.infrared))
            np.testing.assert_array_equal(decode_visible(visible), read_rgb(pair.visible))

    def test_what_is_no_data_set_is_named(self, tmp_path, capfd):
        (tmp_path / "empty").mkdir()
        options = ["--rate", 5, "--out", tmp_path / "bag"]
        assert "layout that is known (LLVIP" in refused(capfd, tmp_path / "empty", *options)
        assert "no such folder" in refused(capfd, tmp_path / "absent", *options)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "either DATASET, or both"),
            (["--ir", "."], "either DATASET, or both"),
            ([".", "--ir", ".", "--vi", "."], "either DATASET, or both"),
            ([".", "--vi", "."], "either DATASET, or both"),
            (["--ir", ".", "--vi", ".", "--split", "test"], "--split is a part of DATASET"),
        ],
    )
    def test_contradictions_are_a_wrong_call(self, tmp_path, capfd, arguments, words):
        out = tmp_path / "bag"
        assert words in refused(capfd, *arguments, "--rate", 5, "--out", out, status=2)

    def test_files_without_a_rate_are_a_wrong_call(self, tmp_path, capfd):
        folder = make_pairs(tmp_path / "set", 2)
        for source in ([folder], ["--ir", folder / "ir", "--vi", folder / "vi"]):
            error = refused(capfd, *source, "--out", tmp_path / "bag", status=2)
            assert "give --rate" in error
