"""Draw aligned pairs of the simulated street, to train on images that are our own.

    .venv/bin/python scripts/scene_pairs.py out/permissive/scene

writes ir/ and vi/ there: 24 streets, each at 8 instants, without sensor noise, which training adds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from dreamif_model.image_files import write_image
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.scene import Scene, SceneConfig

STEP_S = 7.0  # people and cars are elsewhere by then


def main(arguments: list[str] | None = None) -> int:
    """Write the pairs; their names have the seed of the street and the number of the instant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to write ir/ and vi/")
    parser.add_argument("--streets", type=int, default=24, help="number (default: %(default)s)")
    parser.add_argument("--instants", type=int, default=8, help="of each (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("ir", "vi"):
        (options.folder / name).mkdir(parents=True, exist_ok=True)
    for seed in tqdm(range(options.streets), unit="street", disable=None):
        draw(seed, options.instants, options.folder)
    return 0


def draw(seed: int, instants: int, folder: Path) -> None:
    """Write the pairs of one street."""
    scene, normalizer = Scene(SceneConfig(seed, noise=0.0)), ThermalNormalizer()
    for number in range(instants):
        time_s, name = number * STEP_S, f"{seed:03}_{number:02}.png"
        write_image(folder / "ir" / name, normalizer.normalize(scene.infrared(time_s)))
        write_image(folder / "vi" / name, scene.visible(time_s))


if __name__ == "__main__":
    sys.exit(main())
