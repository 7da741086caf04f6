"""``dreamif demo``: fuse simulated cameras live and show the result."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamif_model import ConfigError, DreamIFError, FusionPipeline
from dreamif_model.cameras import Camera
from dreamif_model.image_files import write_image
from dreamif_model.output_files import is_ours, refuse_foreign, sole_writer, write_whole
from dreamif_ros.cli.model_options import add_device_option, add_variant_option
from dreamif_ros.cli.options import add_force_option, make_folder
from dreamif_ros.json_file import write_json
from dreamif_ros.pictures import contact_sheet, write_video
from dreamif_ros.scene.motion import MOTIONS, STILL
from dreamif_ros.scene.sensors import NIGHT

if TYPE_CHECKING:
    from dreamif_ros.simulation.demo_run import DemoRecording

MOMENTS = 4
SUMMARY, TEXT, SHEET = "summary.json", "summary.txt", "contact_sheet.png"
VIDEO, LOG = "fused.mkv", "nodes.log"
COLUMNS = ("infrared", "visible", "fused", "dominance: orange infrared, blue visible")
# Titles in the summary, and their keys in the node's diagnostics.
DROPS = {
    "newer pair came first": "pairs superseded",
    "nobody subscribed": "pairs unwatched",
    "could not be fused": "pairs refused",
    "failed": "pairs failed",
}
UNPAIRED = ("no_partner", "too_old", "duplicate", "cleared")


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "demo",
        help="fuse two simulated cameras live",
        description="Start simulated_cameras and fusion_node over real ROS 2, record them, and "
        "write a contact sheet, a video and a summary.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="how long to record, up to 60 s (default: %(default)s s)",
    )
    parser.add_argument(
        "--noise",
        choices=("usual", NIGHT),
        default="usual",
        help="of the cameras; night: strong, with stripes in infrared. Then the node fuses with "
        "memory (temporal.mode: auto), and the pictures show each frame fused alone beside it "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--motion",
        choices=MOTIONS,
        default=STILL,
        help="of the cameras; pan: they turn to and fro, and roll (default: %(default)s)",
    )
    add_variant_option(parser)
    add_device_option(parser)
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo, write its files, print the summary."""
    if not 0 < options.seconds <= 60:
        raise ConfigError(f"--seconds is {options.seconds:g}, expected more than 0, up to 60")
    files = [options.out / name for name in (SUMMARY, TEXT, SHEET, VIDEO, LOG)]
    known = options.force or is_ours(files[0])  # the other files bear no mark
    refuse_foreign(files, known)
    make_folder("--out", options.out)
    with sole_writer(options.out):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    print(f"fusing simulated cameras for {options.seconds:g} s …", flush=True)
    from dreamif_ros.simulation.demo_run import (
        DemoSettings,  # here: the other verbs need no ROS
        run_demo,
    )

    settings = DemoSettings(options.variant, options.device, motion=options.motion)
    if options.noise == NIGHT:
        settings = replace(settings, noise=NIGHT, temporal_mode="auto")
    recording = run_demo(options.seconds, settings, options.out / LOG)
    summary = summarize(recording, options.seconds)
    text = describe(summary)
    write_json(options.out / SUMMARY, summary)
    write_whole(options.out / TEXT, text)
    if options.noise == NIGHT:
        write_comparison(recording, options)
    else:
        write_pictures(recording, summary["published_hz"], options.out)
    print(text, end="")
    print(f"look at {options.out / SHEET} and {options.out / VIDEO}")
    return 0


def write_comparison(recording: DemoRecording, options: argparse.Namespace) -> None:
    """Write ``contact_sheet.png`` and ``fused.mkv`` with each frame fused alone beside the node's.

    That takes longer than :func:`write_pictures`, because each frame is fused again.
    """
    from dreamif_ros.simulation.noisy_case import write_noisy_case  # as above

    pipeline = FusionPipeline(options.variant, options.device)
    write_noisy_case(recording, pipeline, options.out / SHEET, options.out / VIDEO, MOMENTS)


def write_pictures(recording: DemoRecording, rate_hz: float, out: Path) -> None:
    """Write ``contact_sheet.png`` and ``fused.mkv``."""
    rows = recording.moments(MOMENTS)
    if not rows:
        raise DreamIFError(
            "no moment was recorded completely: both inputs, fused image and overlay"
        )
    write_image(out / SHEET, contact_sheet(COLUMNS, rows))
    write_video(out / VIDEO, recording.fused_frames(), rate_hz)


def summarize(recording: DemoRecording, seconds: float) -> dict[str, Any]:
    """The node's last diagnostics, as numbers with units in their names."""
    state = recording.state
    if not state:
        raise DreamIFError("the fusion node sent no diagnostics")
    return {
        "variant": state["variant"],
        "backend": state["backend"],
        "device": state["device"],
        "precision": state["precision"],
        "seconds": seconds,
        "received": {camera.value: int(state[f"{camera} received"]) for camera in Camera},
        "pairs": int(state["pairs"]),
        "used_alone": int(state["images used alone"]),
        "published": int(state["published"]),
        "recorded": len(recording.fused),
        "published_hz": round(len(recording.fused) / seconds, 2),
        "dropped_pairs": {reason: int(state[key]) for reason, key in DROPS.items()},
        "unpaired_messages": {name: int(state[f"messages {name}"]) for name in UNPAIRED},
        "stamp_to_publish_ms": {
            quantile: float(state[f"stamp_to_publish {quantile} (ms)"])
            for quantile in ("p50", "p99")
        },
    }


def describe(summary: dict[str, Any]) -> str:
    """The summary for a terminal."""
    latency, received = summary["stamp_to_publish_ms"], summary["received"]
    dropped = summary["dropped_pairs"]
    lines = {
        "model": f"{summary['variant']} on {summary['device']}, {summary['precision']} by "
        f"{summary['backend']}",
        "frames in": f"{received['infrared']} infrared, {received['visible']} visible",
        "pairs": f"{summary['pairs']}; used without a partner: {summary['used_alone']}; "
        f"published: {summary['published']}",
        "dropped": ", ".join(f"{reason}: {count}" for reason, count in dropped.items()),
        "unpaired": f"{sum(summary['unpaired_messages'].values())} messages",
        "rate": f"{summary['published_hz']:g} Hz fused",
        "latency": f"{latency['p50']:.0f} ms median, {latency['p99']:.0f} ms p99, stamp to publish",
    }
    return "".join(f"{name:<10} {value}\n" for name, value in lines.items())
