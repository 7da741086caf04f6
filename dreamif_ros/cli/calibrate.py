"""``dreamif calibrate``: estimates how infrared lies on the visible image, from both images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.cameras import Both
from dreamif_model.device import keep_freed_memory
from dreamif_model.image_files import write_image
from dreamif_model.registration.alignment import alignment_score
from dreamif_model.registration.board import LAYOUT, Board
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.estimate import MAX_PAIRS
from dreamif_model.registration.warp import Registrar, resize
from dreamif_ros.cli.options import add_force_option, add_topic_options, check_outputs
from dreamif_ros.evaluation.calibrated import (
    LENS_OPTIONS,
    MAX_BOARD_PAIRS,
    BoardTask,
    Calibrated,
    from_board,
    from_edges,
)
from dreamif_ros.evaluation.footage import (
    TOPIC_OPTIONS,
    Footage,
    GrayShares,
    edge_picture,
    read_bag,
    read_files,
)
from dreamif_ros.json_file import write_json
from dreamif_ros.pictures import contact_sheet

EXAMPLES = """examples:
  dreamif calibrate --ir thermal/ --vi color/ --out calibration.yaml --picture check.png
  dreamif calibrate drive_bag --out calibration.yaml --picture check.png
  dreamif calibrate --ir thermal/ --vi color/ --board 6x5 --out calibration.yaml
  dreamif calibrate drive.mcap --ir-topic /thermal/image_raw --vi-topic /camera/image_raw \\
      --out calibration.yaml"""
PICTURE_WIDTH = 640  # pixels of each half


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "calibrate",
        help="estimate how infrared lies on the visible image, and the clocks' offset",
        description="Estimate the homography from infrared to visible pixels, and from a bag also "
        "the offset between the cameras' clocks, from what both cameras see: no target is needed. "
        "With --board, from a board that both see; lenses are then corrected too. Fails where the "
        "images do not show it. A homography is correct at one distance, or far away.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "bag", type=Path, nargs="?", metavar="BAG", help="rosbag2 folder, .mcap or .db3 file"
    )
    parser.add_argument("--ir", type=Path, metavar="PATH", help="infrared image or folder")
    parser.add_argument("--vi", type=Path, metavar="PATH", help="visible image or folder")
    add_topic_options(parser, TOPIC_OPTIONS)
    _add_board_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="calibration to write, YAML"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write the edges before and after: infrared red, visible cyan, both white",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")
    add_force_option(parser)
    parser.set_defaults(run=run)


def _add_board_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--board", metavar="BOARD", help=f"inner corners of a checkerboard, or circles: {LAYOUT}"
    )
    for camera, option in LENS_OPTIONS.items():
        parser.add_argument(
            option,
            type=Path,
            metavar="FILE",
            help=f"lens of the {camera} camera, as ROS's camera_calibration writes it (default: "
            "estimated from 8 or more pairs in which the board is tilted)",
        )
    parser.add_argument(
        "--distance",
        type=float,
        metavar="METRES",
        help="of the scenes: write both cameras and their places, not a homography (needs the "
        "board's SPACING_M and both lenses)",
    )


def run(options: argparse.Namespace) -> int:
    """Estimate, write, and print the result."""
    outputs = {f"--{name}": getattr(options, name) for name in ("out", "picture", "json")}
    inputs = [options.bag, options.ir, options.vi, options.ir_camera, options.vi_camera]
    check_outputs(outputs, inputs, force=options.force)
    task = _board_task(options)
    keep_freed_memory()
    footage = _footage(options)
    found = from_board(footage, task) if task else from_edges(footage)
    infrared, visible = footage.images.map(lambda images: images[0])
    warped = Registrar(found.calibration).warp(infrared.shape, visible.shape)(infrared)
    resized = resize(infrared, visible.shape)
    scores = alignment_score(resized, visible), alignment_score(warped, visible)
    write_calibration(found.calibration, options.out)
    if options.picture:
        _write_picture(options.picture, visible, resized, warped)
    if options.json:
        write_json(options.json, _report(footage, found, scores))
    _print(footage, found, scores)
    print(f"calibration in {options.out}")
    return 0


def _board_task(options: argparse.Namespace) -> BoardTask | None:
    lenses = Both(options.ir_camera, options.vi_camera)
    if options.board is not None:
        return BoardTask(Board.parse(options.board), lenses, options.distance)
    if options.distance is not None or any(lenses):
        raise ConfigError(f"{', '.join(LENS_OPTIONS)} and --distance go with --board only")
    return None


def _footage(options: argparse.Namespace) -> Footage:
    from_files = options.ir is not None and options.vi is not None
    if from_files == (options.bag is not None) or (options.ir is None) != (options.vi is None):
        raise ConfigError("give either BAG, or both --ir and --vi")
    count = MAX_BOARD_PAIRS if options.board else MAX_PAIRS
    if from_files:
        return read_files(options.ir, options.vi, count)
    return read_bag(options.bag, options.ir_topic, options.vi_topic, count)


def _write_picture(path: Path, visible: GrayShares, before: GrayShares, after: GrayShares) -> None:
    halves = [edge_picture(infrared, visible) for infrared in (before, after)]
    write_image(path, contact_sheet(("before", "after"), [halves], PICTURE_WIDTH))


def _report(footage: Footage, found: Calibrated, scores: tuple[float, float]) -> dict[str, Any]:
    offset = footage.clock_offset
    return {
        "infrared_size": found.calibration.infrared_size,
        "visible_size": found.calibration.visible_size,
        "pairs_used": found.pairs_used,
        "pairs_available": footage.available,
        **found.numbers,
        "alignment_score_before": scores[0],
        "alignment_score_after": scores[1],
        "clock_offset_s": None if offset is None else offset.seconds,
        "clock_offset_residual_s": None if offset is None else offset.residual_s,
        "clock_offset_correlation": None if offset is None else offset.correlation,
    }


def _print(footage: Footage, found: Calibrated, scores: tuple[float, float]) -> None:
    for line in (*(f"fault: {fault}" for fault in footage.faults), *found.lines):
        print(line)
    print(f"edge agreement of the first pair: {scores[0]:.2f} before, {scores[1]:.2f} after")
    offset = footage.clock_offset
    if offset is None:
        print(f"clock offset: none, {footage.no_offset}")
        return
    print(
        f"clock offset: {offset.seconds:+.3f} s to add to infrared stamps; the recording's halves "
        f"differ by {offset.residual_s:.3f} s, correlation {offset.correlation:.2f}"
    )
