"""Compare methods on pairs: metrics against the clean sources, even if inputs were degraded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dreamif_model.arrays import GrayImage, to_bytes
from dreamif_model.cameras import Both, Camera
from dreamif_model.degradations.denoisers import DENOISERS
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.errors import ImageError
from dreamif_model.image_files import PairPaths, read_gray
from dreamif_model.metrics import evaluate_all, psnr
from dreamif_model.metrics.gray import degrees_to_gray
from dreamif_model.pipeline import FusionPipeline

if TYPE_CHECKING:
    from dreamif_model.metrics.lpips import Lpips

Fuse = Callable[[GrayImage, GrayImage], GrayImage]  # takes infrared and visible
ImagesByName = dict[str, GrayImage]  # "shown infrared", "shown visible" and method names
# One degradation of all pairs, or one that is drawn for each from its seed.
Condition: TypeAlias = DegradationSpec | Callable[[int], DegradationSpec]

CLEAN = "clean"
OWN_CLEAN = "PSNR clean"  # dB, against the method's own result on the clean pair


@dataclass(frozen=True)
class Method:
    """A way to fuse a pair, after restoring each image if ``restore`` is given."""

    fuse: Fuse
    restore: str = ""  # a name of DENOISERS


@dataclass(frozen=True)
class PairScores:
    """Results of all methods on one pair under one condition."""

    condition: str
    pair: str
    images: ImagesByName
    scores: dict[str, dict[str, float]]  # method: metric: value


BASELINES: dict[str, Method] = {
    "visible": Method(lambda infrared, visible: visible),  # noqa: ARG005
    "infrared": Method(lambda infrared, visible: infrared),  # noqa: ARG005
    "average": Method(
        lambda infrared, visible: to_bytes(
            (infrared.astype(np.float32) + visible.astype(np.float32)) / 2
        )
    ),
    "max": Method(np.maximum),
}
TWO_STAGE: dict[str, Method] = {
    f"{denoiser}, max": Method(np.maximum, denoiser) for denoiser in DENOISERS
}


def network_method(pipeline: FusionPipeline) -> Method:
    """Let a pipeline fuse gray images."""
    weights = np.array((0.299, 0.587, 0.114))  # BT.601 luma

    def fuse(infrared: GrayImage, visible: GrayImage) -> GrayImage:
        fused = pipeline.fuse(visible=visible, infrared=infrared).fused
        return to_bytes(fused @ weights)

    return Method(fuse)


def compare(
    pairs: Iterable[PairPaths],
    methods: Mapping[str, Method],
    conditions: Mapping[str, Condition],
    seed: int = 0,
    lpips: Lpips | None = None,
) -> Iterator[PairScores]:
    """Run every method on every pair: clean, then under each condition with the same inputs.

    The scores are those of :func:`dreamif_model.metrics.evaluate_all`, and LPIPS if it is given.

    Methods that restore first are left out of the clean pass. Degradations depend on ``seed`` and
    on the pair's number only, so a condition's figures do not depend on other conditions.
    ImageError names the file.
    """
    for number, pair in enumerate(pairs):
        clean = _read8(pair)
        try:
            yield from _results(
                pair.stem, clean, methods, conditions, seed * 1_000_003 + number, lpips
            )
        except ImageError as error:
            raise ImageError(f"{pair.visible}: {error}") from None


def _results(
    name: str,
    clean: Both[GrayImage],
    methods: Mapping[str, Method],
    conditions: Mapping[str, Condition],
    seed: int,
    lpips: Lpips | None,
) -> Iterator[PairScores]:
    own = {name: method.fuse(*clean) for name, method in methods.items()}
    direct = {name: own[name] for name, method in methods.items() if not method.restore}
    yield PairScores(CLEAN, name, _named(clean) | direct, _scores(direct, clean, lpips))
    for condition, drawn in conditions.items():
        spec = drawn(seed) if callable(drawn) else drawn
        generator = spec.generator(seed)
        shown = Both(
            spec.apply(clean.infrared, Camera.INFRARED, generator),
            spec.apply(clean.visible, Camera.VISIBLE, generator),
        )
        fused = _fuse(methods, shown)
        scores = _scores(fused, clean, lpips)
        for method, row in scores.items():
            row[OWN_CLEAN] = psnr(fused[method], own[method])
        yield PairScores(condition, name, _named(shown) | fused, scores)


def _scores(
    fused: ImagesByName, clean: Both[GrayImage], lpips: Lpips | None
) -> dict[str, dict[str, float]]:
    scores = evaluate_all(fused, *clean)
    if lpips:
        for name, image in fused.items():
            scores[name]["LPIPS"] = lpips.score(image, *clean)
    return scores


def _fuse(methods: Mapping[str, Method], shown: Both[GrayImage]) -> ImagesByName:
    restored = {"": shown}
    for name in {method.restore for method in methods.values() if method.restore}:
        restored[name] = shown.map(DENOISERS[name])
    return {name: method.fuse(*restored[method.restore]) for name, method in methods.items()}


def _named(images: Both[GrayImage]) -> ImagesByName:
    return {f"shown {camera}": image for camera, image in images.items()}


def _read8(pair: PairPaths) -> Both[GrayImage]:
    infrared, visible = degrees_to_gray(read_gray(pair.infrared)), read_gray(pair.visible)
    if infrared.dtype != np.uint8 or visible.dtype != np.uint8 or infrared.shape != visible.shape:
        raise ImageError(
            f"metrics take 8-bit pairs of one size: {pair.infrared} is {infrared.dtype} "
            f"{infrared.shape}, {pair.visible} is {visible.dtype} {visible.shape}"
        )
    return Both(infrared.astype(np.uint8, copy=False), visible.astype(np.uint8, copy=False))
