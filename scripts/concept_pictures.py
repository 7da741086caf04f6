"""Draw docs/pairing.svg and docs/registration.jpg: what pairing and registration do, from runs.

python scripts/concept_pictures.py        # about ten seconds
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dreamif_model import Calibration, FusionPipeline
from dreamif_model.cameras import Both, Camera
from dreamif_model.registration.estimate import align
from dreamif_model.registration.geometry import Homography
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.pairing import PairSynchronizer
from dreamif_ros.pictures import contact_sheet
from dreamif_ros.scene import Scene, SceneConfig
from dreamif_ros.stamps import NANOSECONDS

DOCS = Path(__file__).resolve().parents[1] / "docs"
RATES_HZ = Both(infrared=25.0, visible=30.0)
JITTER_S, SLOP_S, LONG_S = 0.003, 0.05, 0.8
ROWS = Both(infrared=40, visible=120)  # pixels
COLORS = Both(infrared="#e07b1a", visible="#2f74c0")
SIZE = 640, 480
PART = slice(140, 400), slice(200, 547)  # rows and columns of the fused image that are shown


def pairs_of_stamps() -> tuple[Both[list[int]], list[tuple[int, int]]]:
    """Jittered stamps of both cameras in ns, and the pairs (infrared, visible) that are made."""
    rng = np.random.default_rng(0)
    stamps = Both.make(
        lambda camera: [
            round(NANOSECONDS * (0.05 + i / RATES_HZ[camera] + rng.uniform(-JITTER_S, JITTER_S)))
            for i in range(round(LONG_S * RATES_HZ[camera]))
        ]
    )
    pairer: PairSynchronizer[int] = PairSynchronizer(SLOP_S, 10)
    arrivals = sorted((stamp, camera) for camera, own in stamps.items() for stamp in own)
    made = [pair for stamp, camera in arrivals for pair in pairer.add(camera, stamp, stamp)]
    return stamps, [(pair.infrared, pair.visible) for pair in made]


def pairing_picture() -> str:
    """The whole file: a dot for each image, a line for each pair."""

    def x(stamp_ns: int) -> float:
        return 130 + 1000 * stamp_ns / NANOSECONDS

    stamps, pairs = pairs_of_stamps()
    used = {stamp for pair in pairs for stamp in pair}
    shapes = [
        f'<line x1="{x(infrared):.1f}" y1="{ROWS.infrared}" x2="{x(visible):.1f}" '
        f'y2="{ROWS.visible}" stroke="#555"/>'
        for infrared, visible in pairs
    ]
    for camera in Camera:
        shapes.append(
            f'<text x="10" y="{ROWS[camera] + 5}">{camera} {RATES_HZ[camera]:g} Hz</text>'
        )
        for stamp in stamps[camera]:
            fill = COLORS[camera] if stamp in used else "#ffffff"
            shapes.append(
                f'<circle cx="{x(stamp):.1f}" cy="{ROWS[camera]}" r="5" fill="{fill}" '
                f'stroke="{COLORS[camera]}"/>'
            )
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 160" font-family="sans-serif" '
        'font-size="14">\n<rect width="1000" height="160" fill="#ffffff"/>'
    )
    return "\n".join((head, *shapes, "</svg>\n"))


def registration_picture() -> np.ndarray:
    """The same instant of the simulated street, fused without and with the calibration found."""
    scene = Scene(SceneConfig(seed=3, misalignment=1.0))
    normalizer = ThermalNormalizer()
    times = np.linspace(0.0, 5.0, 6)
    grays = [normalizer.normalize(scene.infrared(t)) for t in times]
    found = align(grays, [cv2.cvtColor(scene.visible(t), cv2.COLOR_RGB2GRAY) for t in times])
    calibration = Calibration(Homography(found.homography), SIZE, SIZE)
    cells = [
        FusionPipeline("nano", "cpu", registration=used)
        .fuse(visible=scene.visible(times[2]), infrared=scene.infrared(times[2]))
        .fused[PART]
        for used in (None, calibration)
    ]
    return contact_sheet(("without calibration", "with calibration"), [cells], cell_width=480)


def main() -> None:
    """Write both files."""
    (DOCS / "pairing.svg").write_text(pairing_picture(), encoding="utf-8")
    picture = cv2.cvtColor(registration_picture(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(DOCS / "registration.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
