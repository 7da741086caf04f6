"""``dreamif export``: write a network for other engines, and check the file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import ConfigError
from dreamif_model.output_files import unfinished_folder
from dreamif_model.variants import NETWORKS
from dreamif_ros.cli.model_options import add_variant_option, add_weights_option
from dreamif_ros.cli.options import add_force_option, check_outputs
from dreamif_ros.cli.table import parse_size

EXAMPLES = """examples:
  dreamif export --format onnx --out nano.onnx
  dreamif export --variant tiny --weights out/train/tiny/tiny.safetensors --format openvino \\
      --out tiny.xml
  dreamif export --format onnx --whole --size 640x480 --out whole.onnx --ir pairs/ir --vi pairs/vi

Without --whole the input is `phases`, uint8 (1, (1 + C)·s², H/s, W/s): the pixels of s×s cells of
infrared, then of the C channels of visible, as torch.nn.functional.pixel_unshuffle orders them.
`nano` takes two channels more, for infrared and visible: σ of the noise of each cell in quarters of
a gray level, 0 where it is not known.
Outputs are `fused`, gray levels as float32 phases, `dominance`, float32 (1, 2, h, w) in [0, 1],
infrared first, `removed`, the change of the visible luma in [0, 1], and `restored`, gray levels of
both restored images in phases, infrared first. The node and `dreamif fuse` take such a file as
weights. With --whole, the inputs are `infrared` (1, 1, H, W) and `visible`
(1, 3, H, W), RGB, and the outputs `fused` (1, 3, H, W) and `dominance` (1, 2, H, W), all uint8.
The file's metadata (variant, sizes, value ranges, licence of the weights) has the key `dreamif`."""
MAX_PAIRS = 4  # of the given pairs are used for the check
FORMATS = ("onnx", "openvino", "torchscript")


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write a network as ONNX, OpenVINO or TorchScript",
        description="Write a network for other engines, then run the file and torch on the same "
        "pairs. Fails if they differ by more than one gray level or 0.001 of dominance.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="format of the file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    add_variant_option(parser, tuple(NETWORKS))
    add_weights_option(parser, "`dreamif train` (.safetensors)")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="include all steps from uint8 images to the uint8 fused image and dominance maps",
    )
    parser.add_argument(
        "--size",
        metavar="WxH",
        help="write a file for images of this size in pixels only (default: any size)",
    )
    parser.add_argument(
        "--ir", type=Path, metavar="PATH", help="infrared image or folder to check with"
    )
    parser.add_argument(
        "--vi",
        type=Path,
        metavar="PATH",
        help="visible image or folder to check with (default: two simulated pairs)",
    )
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from dreamif_model.model_files.checkpoints import load_network
    from dreamif_model.model_files.graph_export import SUFFIXES, compare, export  # torch: 2 s
    from dreamif_model.model_files.graph_info import GraphInfo

    suffix = SUFFIXES[options.format]
    if options.out.suffix != suffix:
        raise ConfigError(
            f"--out {options.out}: a file of format {options.format} ends in {suffix}"
        )
    inputs = [options.weights, options.ir, options.vi]
    check_outputs({"--out": options.out}, inputs, force=True)
    if options.out.exists() and not options.force:
        raise ConfigError(f"--out {options.out} exists: give another name, or --force")
    if (options.ir is None) != (options.vi is None):
        raise ConfigError("--ir and --vi belong together: give both or none")
    size = parse_size(options.size) if options.size else None
    network = load_network(options.variant, options.weights)
    info = GraphInfo.of(options.variant, network.config)
    shown = size or (info.size_multiple * 8, info.size_multiple * 6)
    pairs = _pairs(options, shown)
    with unfinished_folder(options.out) as folder:
        unchecked = folder / options.out.name
        written = export(network, info, unchecked, options.format, options.whole, size)
        found = compare(network, written, unchecked, [_inputs(p, written) for p in pairs])
        for path in sorted(folder.iterdir()):  # OpenVINO writes .bin before .xml, which needs it
            path.replace(options.out.with_name(path.name))
    what = "images to images" if options.whole else "network"
    print(f"{options.out}: {options.variant}, {what}, {options.size or 'any size'}")
    print(
        f"maximum difference from torch on {len(pairs)} pairs of {shown[0]}x{shown[1]}: "
        f"{found.fused:.3g} gray levels, {found.dominance:.3g} of dominance"
    )
    return 0


def _pairs(options: argparse.Namespace, size: tuple[int, int]) -> list[tuple[Any, Any]]:
    """Infrared (H, W) and visible RGB (H, W, 3), uint8, of one size."""
    import cv2

    from dreamif_model.image_files import find_pairs, read_gray, read_rgb
    from dreamif_model.thermal import ThermalNormalizer

    if options.ir is None:
        return _drawn(size)
    found = []
    for pair in find_pairs(options.ir, options.vi)[:MAX_PAIRS]:
        infrared = ThermalNormalizer().normalize(read_gray(pair.infrared))
        found.append((cv2.resize(infrared, size), cv2.resize(read_rgb(pair.visible), size)))
    return found


def _drawn(size: tuple[int, int]) -> list[tuple[Any, Any]]:
    """Two moments of the simulated street at night, resized to ``size``."""
    import cv2

    from dreamif_model.thermal import ThermalNormalizer
    from dreamif_ros.scene.scene import Scene, SceneConfig

    drawn = (320, 240)
    scene = Scene(SceneConfig(0, visible_size=drawn, infrared_size=drawn))
    normalizer = ThermalNormalizer()
    return [
        (
            cv2.resize(normalizer.normalize(scene.infrared(t)), size),
            cv2.resize(scene.visible(t), size),
        )
        for t in (0.0, 5.0)
    ]


def _inputs(pair: tuple[Any, Any], info: Any) -> tuple[Any, ...]:
    """Arrays for the file's inputs."""
    import cv2

    from dreamif_model.backends.phases import PhasePacker

    infrared, visible = pair
    if info.whole:
        return infrared[None, None], np.ascontiguousarray(visible.transpose(2, 0, 1))[None]
    shown = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY) if info.image_channels == 1 else visible
    return (PhasePacker(info.stem, info.noise_map).pack(infrared, shown),)
