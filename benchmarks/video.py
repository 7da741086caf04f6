"""What memory of the frames before gains on noisy video, for docs/video.md.

python benchmarks/video.py                                # both clips of ../shared/data/video
python benchmarks/video.py --llvip ../shared/data/pairs/llvip  # frames seconds apart, as well
python benchmarks/video.py --picture docs/video.jpg       # simulated cameras, side by side
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model import FusionPipeline
from dreamif_model.arrays import GrayImage, RgbImage, to_bytes
from dreamif_model.image_files import find_pairs, read_gray, read_rgb, write_image
from dreamif_model.metrics import qabf, ssim, viff
from dreamif_model.metrics.flicker import flicker
from dreamif_ros.scene import Scene, SceneConfig

Pair = tuple[GrayImage, RgbImage]
Fuse = Callable[[Pair], RgbImage]
CLIPS = {"0113_1714": 60, "0117_1605": 250}  # name: first frame
CONDITIONS = {  # σ of the noise, σ of the stripes
    "still": (35.0, 0.0),
    "pan": (35.0, 0.0),
    "stripes": (10.0, 8.0),
    "clean": (0.0, 0.0),
}
METHODS = "single,stream,average,nlm"
METRICS_STRIDE = 4  # every fourth frame is measured by the slow metrics
NLM_FRAMES = 5  # that are measured of it: it takes seconds for each
PICTURE_NOISE = 8.0  # times the simulated cameras' own
PICTURE_ROWS, PICTURE_COLUMNS = slice(140, 400), slice(100, 480)
EXACT = 99.0  # dB, for images without any difference
WARM = 8  # frames that are not measured: the memory fills
PAN_PX, ROLL_DEG, ZOOM = 4.0, 0.1, 1.3  # per frame; the zoom makes room for the pan
MOVED = 6.0  # gray levels; a larger change of the smoothed clean inputs is motion
COLUMNS = ("PSNR", "moving", "Qabf", "SSIM", "VIFF", "flicker", "stripes", "ms")


@dataclass
class Scores:
    """Sums over the measured frames of one method on one clip."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def mean(self, name: str) -> float:
        return float(np.nanmean(self.values[name])) if self.values.get(name) else float("nan")


# -- Clips and what spoils them.


def read_clip(folder: Path, name: str, first: int, count: int) -> list[Pair]:
    """Frames of both cameras."""
    captures = [cv2.VideoCapture(str(folder / camera / f"{name}.mp4")) for camera in ("ir", "vi")]
    for capture in captures:
        capture.set(cv2.CAP_PROP_POS_FRAMES, first)
    frames = []
    for _ in range(count):
        infrared, visible = (capture.read()[1] for capture in captures)
        gray = cv2.cvtColor(infrared, cv2.COLOR_BGR2GRAY)
        frames.append((to_array(gray), to_array(cv2.cvtColor(visible, cv2.COLOR_BGR2RGB))))
    return frames


def read_llvip(folder: Path, count: int) -> list[Pair]:
    """Frames of one fixed camera, seconds apart, at half the size."""
    pairs = find_pairs(folder / "ir", folder / "vi")[:count]
    half = {"dsize": None, "fx": 0.5, "fy": 0.5, "interpolation": cv2.INTER_AREA}
    return [
        (
            to_array(cv2.resize(read_gray(pair.infrared), **half)),
            to_array(cv2.resize(read_rgb(pair.visible), **half)),
        )
        for pair in pairs
    ]


def to_array(image: object) -> NDArray[np.uint8]:
    return np.asarray(image, np.uint8)


def panned(frames: Sequence[Pair]) -> list[Pair]:
    """The same clip from a camera that pans and rolls; it turns round before the border."""
    height, width = frames[0][0].shape
    reach = (ZOOM - 1) / 2 * width - 10
    moved = []
    for number, pair in enumerate(frames):
        way = (number * PAN_PX + reach) % (4 * reach)
        x = abs(way - 2 * reach) - reach
        roll = ROLL_DEG * (number - len(frames) / 2)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), roll, ZOOM)
        matrix[:, 2] += x, x / 4
        moved.append(
            tuple(
                to_array(
                    cv2.warpAffine(
                        image,
                        matrix,
                        (width, height),
                        flags=cv2.INTER_CUBIC,
                        borderMode=cv2.BORDER_REFLECT,
                    )
                )
                for image in pair
            )
        )
    return moved


def noisy(frames: Sequence[Pair], sigma: float, stripes: float = 0.0) -> list[Pair]:
    """Noise of its own in every frame and channel; stripes on infrared that drift slowly."""
    rng = np.random.default_rng(17)
    patterns = rng.standard_normal((2, 1, frames[0][0].shape[1]))
    spoiled = []
    for number, (infrared, visible) in enumerate(frames):
        angle = number / 100
        pattern = stripes * (np.cos(angle) * patterns[0] + np.sin(angle) * patterns[1])
        spoiled.append(
            (
                to_bytes(infrared + pattern + sigma * rng.standard_normal(infrared.shape)),
                to_bytes(visible + sigma * rng.standard_normal(visible.shape)),
            )
        )
    return spoiled


# -- Methods: each is made anew for a clip.


def single(pipeline: FusionPipeline) -> Fuse:
    return lambda pair: pipeline.fuse(visible=pair[1], infrared=pair[0]).fused


def stream(pipeline: FusionPipeline) -> Fuse:
    remembering = pipeline.stream()
    return lambda pair: remembering.fuse(visible=pair[1], infrared=pair[0]).fused


def average(pipeline: FusionPipeline, alpha: float = 0.3) -> Fuse:
    """A plain exponential average of each input."""
    means: list[NDArray[np.float32]] = []

    def fuse(pair: Pair) -> RgbImage:
        if not means:
            means.extend(image.astype(np.float32) for image in pair)
        for mean, image in zip(means, pair, strict=True):
            cv2.accumulateWeighted(image, mean, alpha)
        return pipeline.fuse(visible=to_bytes(means[1]), infrared=to_bytes(means[0])).fused

    return fuse


def non_local(pipeline: FusionPipeline, strength: float, window: int = 5) -> Fuse:
    """OpenCV's non-local means over the last frames; the middle of them is shown, late."""
    frames: list[Pair] = []

    def fuse(pair: Pair) -> RgbImage:
        frames.append(pair)
        last = frames[-window:]
        if len(last) < window:
            return pipeline.fuse(visible=pair[1], infrared=pair[0]).fused
        middle, options = window // 2, {"templateWindowSize": 5, "searchWindowSize": 15}
        gray = cv2.fastNlMeansDenoisingMulti(
            [infrared for infrared, _ in last], middle, window, h=strength, **options
        )
        color = cv2.fastNlMeansDenoisingColoredMulti(
            [visible for _, visible in last], middle, window, None, strength, strength, 5, 15
        )
        return pipeline.fuse(visible=to_array(color), infrared=to_array(gray)).fused

    return fuse


# -- Measures.


def luma(image: RgbImage) -> GrayImage:
    return to_array(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def moving(before: Pair, now: Pair) -> NDArray[np.bool_]:
    """Where a clean input changed."""
    changed = np.zeros(now[0].shape, bool)
    for old, new in zip(before, now, strict=True):
        gray = [image if image.ndim == 2 else luma(image) for image in (old, new)]
        change = gray[1].astype(np.float32) - gray[0]
        changed |= abs(cv2.GaussianBlur(change, (0, 0), 1.5)) > MOVED
    return cv2.dilate(changed.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def column_pattern(error: NDArray[np.float64]) -> float:
    """σ of the column means of an error, less what changes slowly along the row."""
    means = error.mean(axis=0)
    smooth = cv2.blur(means[None], (9, 1))[0]
    return float((means - smooth).std())


def decibels(error: NDArray[np.float64]) -> float:
    """PSNR of an error in gray levels."""
    power = float((error**2).mean())
    return float(10 * np.log10(255**2 / power)) if power else EXACT


@dataclass
class Clip:
    """Clean frames, where they move, what spoils them, and what the clean ones give."""

    clean: list[Pair]
    masks: list[NDArray[np.bool_]]
    spoiled: list[Pair]
    wanted: list[GrayImage]

    @classmethod
    def make(cls, frames: list[Pair], condition: str, pipeline: FusionPipeline) -> Clip:
        masks = [np.zeros(frames[0][0].shape, bool)]
        masks += [moving(*couple) for couple in pairwise(frames)]
        if condition == "pan":
            shown = [(to_array(255 * m), f[1]) for m, f in zip(masks, frames, strict=True)]
            masks, frames = [m > 127 for m, _ in panned(shown)], panned(frames)
        sigma, stripes = CONDITIONS[condition]
        wanted = [luma(single(pipeline)(pair)) for pair in frames]
        return cls(frames, masks, noisy(frames, sigma, stripes) if sigma else frames, wanted)


def run(fuse: Fuse, clip: Clip, delay: int = 0) -> tuple[Scores, list[RgbImage]]:
    """Fuse a clip and measure it against its own clean output."""
    scores, results = Scores(), list[RgbImage]()
    count = WARM + NLM_FRAMES + delay if delay else len(clip.spoiled)
    for number, pair in enumerate(clip.spoiled[:count]):
        started = time.process_time()
        results.append(fuse(pair))
        if number >= WARM:
            scores.add(ms=1000 * (time.process_time() - started))
    shown = [luma(result) for result in results[delay:]]
    for number in range(WARM, len(shown)):
        got, mask = shown[number], clip.masks[number]
        error = got.astype(np.float64) - clip.wanted[number]
        scores.add(PSNR=decibels(error), stripes=column_pattern(error))
        if mask.mean() > 0.001:
            scores.add(moving=decibels(error[mask]))
        if (number - WARM) % METRICS_STRIDE == 0:
            infrared, visible = clip.clean[number][0], luma(clip.clean[number][1])
            for metric in (qabf, ssim, viff):
                name = {"qabf": "Qabf"}.get(metric.__name__, metric.__name__.upper())
                scores.add(**{name: metric(got, infrared, visible)})
    inputs = [(infrared, luma(visible)) for infrared, visible in clip.clean]
    frames = zip(shown[WARM:], inputs[WARM:], strict=False)
    scores.add(flicker=flicker((fused, *pair) for fused, pair in frames).fused_change)
    return scores, results


def draw(pipeline: FusionPipeline, path: Path) -> None:
    """Noisy simulated cameras: both inputs, one frame fused alone and as the end of a second."""
    scene = Scene(SceneConfig(seed=3, noise=PICTURE_NOISE))
    remembering = pipeline.stream()
    for number in range(30):
        visible, infrared = scene.visible(number / 30), scene.infrared(number / 30)
        fused = remembering.fuse(visible, infrared, time_s=number / 30).fused
    alone = pipeline.fuse(visible, infrared).fused
    gray = pipeline.normalizer.normalize(infrared)
    tiles = visible, np.repeat(gray[..., None], 3, axis=2), alone, fused
    cut = [tile[PICTURE_ROWS, PICTURE_COLUMNS] for tile in tiles]
    write_image(path, np.vstack((np.hstack(cut[:2]), np.hstack(cut[2:]))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/video"))
    parser.add_argument("--llvip", type=Path, help="folder with LLVIP's ir and vi")
    parser.add_argument("--frames", type=int, default=24, help="of each clip (default: 24)")
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--weights", type=Path, help="instead of the packaged ones")
    parser.add_argument("--only", choices=CONDITIONS, help="one condition")
    parser.add_argument("--methods", default=METHODS, help="default: %(default)s")
    parser.add_argument("--save", type=Path, help="folder for the fused frames")
    parser.add_argument("--picture", type=Path, help="draw the picture of docs/video.md instead")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.picture:
        draw(FusionPipeline(options.variant, "cpu"), options.picture)
        return
    clips = {
        name: read_clip(options.data, name, first, options.frames) for name, first in CLIPS.items()
    }
    if options.llvip:
        clips["llvip"] = read_llvip(options.llvip, options.frames)
    pipeline = FusionPipeline(options.variant, "cpu", options.weights)
    for condition in [options.only] if options.only else CONDITIONS:
        print(f"\n## {condition}\n| clip | method | {' | '.join(COLUMNS)} |")
        print("| --- " * (len(COLUMNS) + 2) + "|")
        for name, frames in clips.items():
            measure(name, condition, Clip.make(frames, condition, pipeline), pipeline, options)


def measure(
    name: str,
    condition: str,
    clip: Clip,
    pipeline: FusionPipeline,
    options: argparse.Namespace,
) -> None:
    """Print one row of each method."""
    methods: dict[str, tuple[Callable[[FusionPipeline], Fuse], int]] = {
        "single": (single, 0),
        "stream": (stream, 0),
        "average": (average, 0),
        "nlm": (partial(non_local, strength=CONDITIONS[condition][0]), 2),
    }
    for method in options.methods.split(","):
        if method == "nlm" and condition == "clean":
            continue
        make, delay = methods[method]
        scores, results = run(make(pipeline), clip, delay)
        cells = [f"{scores.mean(column):.3f}" for column in COLUMNS]
        print(f"| {name} | {method} | {' | '.join(cells)} |", flush=True)
        if options.save:
            save(results, options.save, f"{condition}_{name}_{method}")


def save(frames: Sequence[RgbImage], folder: Path, name: str) -> None:
    """Write frames as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(frames):
        write_image(folder / f"{name}_{number:03}.png", image)


if __name__ == "__main__":
    main()
