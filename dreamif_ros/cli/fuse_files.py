"""What ``dreamif fuse`` reads and writes: image files, or videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dreamif_model.arrays import RgbImage, StoredImage, to_bytes
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.fusion_result import FusionResult
from dreamif_model.image_files import DOMINANCE_ENDINGS, PairPaths, find_pairs, write_image
from dreamif_model.output_files import whole_file
from dreamif_model.video_files import VideoReader, as_gray, as_rgb, count_frames, is_video
from dreamif_ros.pictures import CODECS, VideoWriter

IMAGES_HZ = 30.0  # of a video that is made of image files
Keep = Callable[[str, FusionResult], None]  # the name of a pair, and what was made of it


@dataclass(frozen=True)
class FuseInputs:
    """The pairs that are to be fused, in order; each is read when it is taken.

    Attributes:
        names: of the pairs.
        pairs: infrared (h, w) and visible (H, W, 3) RGB of each.
        rate_hz: of the frames.
        of_video: whether they are frames of one video.
    """

    names: Sequence[str]
    pairs: Iterator[tuple[StoredImage, RgbImage]]
    rate_hz: float = IMAGES_HZ
    of_video: bool = False


def open_inputs(infrared: Path, visible: Path) -> FuseInputs:
    """Two image files, two folders of images with equal names, or two videos.

    Raises:
        ImageError: something cannot be read, or has no partner.
    """
    videos = [path for path in (infrared, visible) if is_video(path) and not path.is_dir()]
    if len(videos) == 1:
        raise ImageError(
            f"give two videos, two image files or two folders, got {infrared} and {visible}"
        )
    if videos:
        return _open_videos(infrared, visible)
    files = find_pairs(infrared, visible)
    return FuseInputs([pair.stem for pair in files], map(_read, files))


def output_files(out: Path, names: Sequence[str], dominance: bool, force: bool) -> list[Path]:
    """The files that :func:`written_to` will write.

    Raises:
        ConfigError: they cannot be written like this, or are videos that exist, without ``force``:
            a video bears no mark of ours.
    """
    if not _is_file(out):
        return [out / file for name in names for file in _file_names(name, dominance)]
    if out.suffix.lower() not in CODECS:
        raise ConfigError(f"--out {out}: a video is written as {', '.join(CODECS)}")
    if dominance:
        raise ConfigError(f"--dominance writes images, and --out {out} is a video: name a folder")
    if out.exists() and not force:
        raise ConfigError(f"--out {out} exists: name another video, or --force replaces it")
    return [out]


def refuse_input_folder(out: Path, *inputs: Path) -> None:
    """ConfigError where images would be written into a folder whose images are the inputs.

    The next call would take the fused images for images of that camera.
    """
    for folder in inputs:
        if not _is_file(out) and out.is_dir() and folder.is_dir() and out.samefile(folder):
            raise ConfigError(f"--out {out} is a folder that is read: name another folder")


def folder_of(out: Path) -> Path:
    """The folder into which is written."""
    return out.parent if _is_file(out) else out


@contextmanager
def written_to(out: Path, rate_hz: float, dominance: bool) -> Iterator[Keep]:
    """Write what is given: images into a folder, or the frames of a video, which is whole or not.

    Raises:
        DreamIFError: OpenCV cannot write such a video.
    """
    if not _is_file(out):
        yield lambda name, result: _write_images(out, _file_names(name, dominance), result)
        return
    with whole_file(out) as unfinished:
        video = VideoWriter(unfinished, rate_hz, instead="name a folder, for images")
        try:
            yield lambda _, result: video.add(result.fused)
        finally:
            video.close()


def _open_videos(infrared: Path, visible: Path) -> FuseInputs:
    counts = [count_frames(path) for path in (infrared, visible)]
    if counts[0] != counts[1]:
        raise ImageError(
            f"{infrared} has {counts[0]} frames and {visible} has {counts[1]}: frame i of both "
            "must show the same moment; cut them, or make a bag of them, which pairs them by time "
            "(dreamif bag make)"
        )
    thermal, color = VideoReader(infrared, keeps_16_bit=True), VideoReader(visible)
    names = [f"{visible.stem}_{index:06}" for index in range(counts[1])]
    pairs = zip(map(as_gray, thermal.frames()), map(as_rgb, color.frames()), strict=True)
    return FuseInputs(names, pairs, color.rate_hz or IMAGES_HZ, of_video=True)


def _read(pair: PairPaths) -> tuple[StoredImage, RgbImage]:
    return pair.read_infrared(), pair.read_visible()


def _is_file(out: Path) -> bool:
    """Whether a video is to be written, and not a folder of images."""
    return is_video(out) and not out.is_dir()


def _file_names(name: str, dominance: bool) -> list[str]:
    endings = ("", *DOMINANCE_ENDINGS) if dominance else ("",)
    return [f"{name}{ending}.png" for ending in endings]


def _write_images(out: Path, files: Sequence[str], result: FusionResult) -> None:
    """The fused image and, where there are names for them, both dominance maps."""
    write_image(out / files[0], result.fused)
    maps = result.dominance_infrared, result.dominance_visible
    for file, dominance in zip(files[1:], maps, strict=False):
        write_image(out / file, to_bytes(dominance * 255))
