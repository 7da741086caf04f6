"""`dreamif fuse` of videos: as the frames alone, and what it refuses."""

import cv2
import numpy as np
import pytest
from helpers.videos import camera, scene, write_clip

from dreamif_model import FusionPipeline
from dreamif_model.image_files import read_image, write_image
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_model.video_files import VideoReader, as_gray, as_rgb, count_frames
from dreamif_ros import cli

FRAMES = 5
AUTO = ("--temporal-mode", "auto")


@pytest.fixture
def clip(tmp_path, rng):
    """Noisy frames of both cameras: red and blue differ in the visible ones."""
    ramp = np.linspace(0, 60, 128)[None, :, None] * (1, 0, -1)
    infrared = [camera(scene(1), 20, rng) for _ in range(FRAMES)]
    visible = [camera(scene(2)[..., None] + ramp, 20, rng) for _ in range(FRAMES)]
    write_clip(tmp_path / "ir.mkv", infrared, 10)
    write_clip(tmp_path / "vi.avi", visible, 12.5)
    return infrared, visible


def fuse(folder, *options, infrared="ir.mkv", visible="vi.avi", out="out"):
    paths = ["--ir", folder / infrared, "--vi", folder / visible, "--out", folder / out]
    fixed = ["--variant", "average", "--device", "cpu"]
    return cli.main(["fuse", *map(str, paths), *fixed, *options])


def fused_frames(clip):
    """What the memory makes of the frames, in order."""
    stream = FusionPipeline("average", "cpu").stream(TemporalConfig("auto"))
    pairs = zip(*clip, strict=True)
    return [stream.fuse(visible=visible, infrared=infrared).fused for infrared, visible in pairs]


def test_videos_become_numbered_images(clip, tmp_path, capfd):
    assert fuse(tmp_path, *AUTO) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"vi_{number:06}.png" for number in range(FRAMES)
    ]
    for number, expected in enumerate(fused_frames(clip)):
        found = read_image(tmp_path / "out" / f"vi_{number:06}.png")
        np.testing.assert_array_equal(found, expected)
    assert capfd.readouterr().out == f"5 fused images in {tmp_path / 'out'}\n"


def test_infrared_of_16_bit_keeps_its_counts(clip, tmp_path, rng):
    counts = [rng.integers(29_000, 33_000, (96, 128), np.uint16) for _ in range(FRAMES)]
    write_clip(tmp_path / "counts.mkv", counts, 10)
    assert fuse(tmp_path, infrared="counts.mkv") == 0
    pipeline = FusionPipeline("average", "cpu")  # its range follows the video, as with --sequence
    for number, (infrared, visible) in enumerate(zip(counts, clip[1], strict=True)):
        expected = pipeline.fuse(visible=visible, infrared=infrared).fused
        found = read_image(tmp_path / "out" / f"vi_{number:06}.png")
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.avi"])
def test_videos_become_a_video(clip, tmp_path, name):
    assert fuse(tmp_path, *AUTO, out=name) == 0
    written = VideoReader(tmp_path / name)
    assert written.rate_hz == pytest.approx(12.5)  # of the visible video
    frames = [as_rgb(frame) for frame in written.frames()]
    for found, expected in zip(frames, fused_frames(clip), strict=True):
        difference = found.astype(float) - expected
        assert np.abs(difference).mean() < 5  # the codec's loss
        assert np.abs(difference.mean((0, 1))).max() < 6  # swapped, red and blue differ by 30
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "ir.mkv", "vi.avi"])


def test_image_files_become_a_video(clip, tmp_path):
    for name, frames in zip(("ir", "vi"), clip, strict=True):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            write_image(tmp_path / name / f"{number}.png", frame)
    assert fuse(tmp_path, "--sequence", infrared="ir", visible="vi", out="out.mkv") == 0
    written = VideoReader(tmp_path / "out.mkv")
    assert (written.rate_hz, len(list(written.frames()))) == (30, FRAMES)


@pytest.mark.usefixtures("clip")
def test_a_video_is_replaced_only_with_force(tmp_path, capfd):
    assert fuse(tmp_path, out="out.mkv") == 0
    before = (tmp_path / "out.mkv").read_bytes()
    assert fuse(tmp_path, *AUTO, out="out.mkv") == 2
    assert (tmp_path / "out.mkv").read_bytes() == before
    assert "out.mkv exists: name another video, or --force" in capfd.readouterr().err
    assert fuse(tmp_path, *AUTO, "--force", out="out.mkv") == 0
    assert (tmp_path / "out.mkv").read_bytes() != before


@pytest.mark.parametrize(
    ("options", "paths", "words"),
    [
        ([], {"infrared": "short.mkv"}, "short.mkv has 3 frames and"),
        ([], {"infrared": "ir.png"}, "give two videos, two image files or two folders"),
        ([], {"infrared": "none.mp4"}, "no such video file"),
        ([], {"visible": "damaged.mp4"}, "cannot read the video"),
        ([], {"out": "out.webm"}, "out.webm: a video is written as .mkv, .avi, .mp4"),
        (["--dominance"], {"out": "out.mkv"}, "--dominance writes images"),
        (["--force"], {"out": "ir.mkv"}, "which is read: name another output"),
    ],
)
def test_what_cannot_be_done_is_one_line(clip, tmp_path, capfd, options, paths, words):
    write_clip(tmp_path / "short.mkv", clip[0][:3], 10)
    write_image(tmp_path / "ir.png", clip[0][0])
    (tmp_path / "damaged.mp4").write_bytes(b"no video" * 100)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert fuse(tmp_path, *options, **paths) != 0
    error = capfd.readouterr().err.splitlines()[-1]  # FFmpeg may have a word of its own before
    assert error.startswith("dreamif: ")
    assert words in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_frames_too_large_for_the_codec_are_refused(tmp_path, capfd):
    """MPEG-4 ends at 8191 pixels; nothing is left behind."""
    frame = np.zeros((16, 9000), np.uint8)
    write_clip(tmp_path / "wide.mkv", [frame], 10)
    assert fuse(tmp_path, infrared="wide.mkv", visible="wide.mkv", out="out.mp4") != 0
    error = capfd.readouterr().err
    assert "cannot write mp4v video of 9000x16 pixels: name a folder, for images" in error
    assert [path.name for path in tmp_path.iterdir()] == ["wide.mkv"]


def test_frames_are_found_by_their_number(tmp_path, rng):
    """In MPEG-4, too, where most frames are stored as changes of others."""
    frames = [camera(scene(seed), 3, rng) for seed in range(30)]
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    in_order = [as_gray(frame) for frame in VideoReader(path).frames()]
    assert len(in_order) == count_frames(path) == 30
    reader = VideoReader(path)
    for index in (17, 3, 29, 0, 18):
        np.testing.assert_array_equal(as_gray(reader.frame(index)), in_order[index])
