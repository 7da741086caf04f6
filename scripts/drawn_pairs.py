"""Draw aligned pairs, to train on images that are our own.

    .venv/bin/python scripts/drawn_pairs.py out/permissive

writes folders of ir/ and vi/, without sensor noise, which training adds:

street/  24 streets at night, each at 8 instants
leaves/  400 pairs of shapes that cover each other ("dead leaves"), textured, of random sizes:
         edges and textures as varied as in photographs, though they show nothing in particular
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dreamif_model.image_files import write_image
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.scene import Scene, SceneConfig

Image = NDArray[np.float32]
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]

FIRST_STREET = 100  # the detection tables of the docs are of streets with lower numbers
STEP_S = 7.0  # people and cars are elsewhere by then

LEAVES_SIZE = 288, 384  # height, width in pixels
LEAVES = 450  # shapes in each pair
MIN_RADIUS, MAX_RADIUS = 4.0, 160.0  # pixels
ALIKE = 0.4  # share of shapes whose infrared follows their brightness
ONE_CAMERA = 0.3  # share of shapes that only one of the cameras sees


def main(arguments: list[str] | None = None) -> int:
    """Write the pairs; their names have the number of the street or of the image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to write street/ and leaves/")
    parser.add_argument("--streets", type=int, default=24, help="number (default: %(default)s)")
    parser.add_argument("--instants", type=int, default=8, help="of each (default: %(default)s)")
    parser.add_argument("--leaves", type=int, default=400, help="pairs (default: %(default)s)")
    options = parser.parse_args(arguments)
    for seed in tqdm(range(options.streets), unit="street", disable=None):
        _write(options.folder / "street", f"{seed:03}", street(seed, options.instants))
    for seed in tqdm(range(options.leaves), unit="pair", disable=None):
        _write(options.folder / "leaves", f"{seed:04}", iter([leaves(seed)]))
    return 0


def _write(folder: Path, name: str, pairs: Iterator[Pair]) -> None:
    for part in ("ir", "vi"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, (infrared, visible) in enumerate(pairs):
        write_image(folder / "ir" / f"{name}_{number:02}.png", infrared)
        write_image(folder / "vi" / f"{name}_{number:02}.png", visible)


def street(seed: int, instants: int) -> Iterator[Pair]:
    """Infrared (H, W) and visible (H, W, 3) RGB of one street, uint8."""
    scene, normalizer = Scene(SceneConfig(FIRST_STREET + seed, noise=0.0)), ThermalNormalizer()
    for number in range(instants):
        time_s = number * STEP_S
        yield normalizer.normalize(scene.infrared(time_s)), scene.visible(time_s)


def leaves(seed: int) -> Pair:
    """Infrared (H, W) and visible (H, W, 3) RGB of shapes that cover each other, uint8."""
    rng = np.random.default_rng(seed)
    textures = [_texture(rng) for _ in range(6)]
    visible = np.zeros((*LEAVES_SIZE, 3), dtype=np.float32)
    infrared = np.zeros(LEAVES_SIZE, dtype=np.float32)
    # Large shapes first, from one that covers all: else they would cover most of the small ones.
    radii = 1 / np.sort(rng.uniform(1 / MAX_RADIUS, 1 / MIN_RADIUS, LEAVES))
    for radius in (10 * MAX_RADIUS, *radii):
        mask = _shape(radius, rng)
        brightness, heat = rng.uniform(0, 1, 2)
        if rng.random() < ALIKE:
            heat = float(np.clip(brightness + rng.normal(0, 0.15), 0, 1))
        color = np.clip(brightness + rng.normal(0, 0.06, 3), 0, 1)
        seen_by = rng.choice(3, p=(1 - ONE_CAMERA, ONE_CAMERA / 2, ONE_CAMERA / 2))
        if seen_by != 1:
            _paint(visible, mask, color, textures[rng.integers(6)] * rng.exponential(0.08))
        if seen_by != 2:
            _paint(infrared, mask, heat, textures[rng.integers(6)] * rng.exponential(0.03))
    visible = visible ** rng.uniform(0.8, 2) * rng.uniform(0.4, 1)  # day and night
    return _finished(infrared, rng.uniform(0.6, 1.4)), _finished(visible, rng.uniform(0.3, 0.8))


def _texture(rng: np.random.Generator) -> Image:
    """Noise (H, W) of mean 0 and deviation 1 whose power falls with frequency as 1/fᵃ."""
    height, width = LEAVES_SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(LEAVES_SIZE)) / frequency ** rng.uniform(0.3, 1.4)
    noise = np.fft.irfft2(spectrum, LEAVES_SIZE)
    return (noise / noise.std()).astype(np.float32)


def _shape(radius: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (H, W) of an ellipse, or of a polygon of 3 to 7 corners, anywhere in the image."""
    height, width = LEAVES_SIZE
    corners = 40 if rng.random() < 0.4 else int(rng.integers(3, 8))
    turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    flatness, tilt = rng.uniform(0.25, 1), rng.uniform(0, np.pi)
    x, y = radius * np.cos(turn), radius * flatness * np.sin(turn)
    points = np.stack(
        (
            rng.uniform(0, width) + x * np.cos(tilt) - y * np.sin(tilt),
            rng.uniform(0, height) + x * np.sin(tilt) + y * np.cos(tilt),
        ),
        axis=1,
    )
    mask = np.zeros(LEAVES_SIZE, dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask.astype(bool)


def _paint(
    image: Image, mask: NDArray[np.bool_], value: float | NDArray[np.float64], texture: Image
) -> None:
    pattern = texture[mask] if image.ndim == 2 else texture[mask][:, None]
    image[mask] = np.clip(value + pattern, 0, 1)


def _finished(image: Image, blur: float) -> NDArray[np.uint8]:
    """The image as an unsharp lens shows it: ``blur`` is the σ in pixels."""
    blurred = cv2.GaussianBlur(image, (0, 0), blur)
    return np.round(255 * blurred.clip(0, 1)).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
