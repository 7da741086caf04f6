"""The options that choose a network, which many verbs have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dreamif_model import VARIANTS


def add_variant_option(parser: argparse.ArgumentParser, choices: Sequence[str] = VARIANTS) -> None:
    parser.add_argument(
        "--variant", choices=choices, default="nano", help="model variant (default: %(default)s)"
    )


def add_variants_option(parser: argparse.ArgumentParser, default: str) -> None:
    """``--variant`` for verbs that take several; the verb applies the default."""
    parser.add_argument(
        "--variant",
        action="append",
        choices=VARIANTS,
        help=f"model variant; may be given several times (default: {default})",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, CUDA if there is an NVIDIA card)",
    )


def add_weights_option(
    parser: argparse.ArgumentParser,
    files: str = "`dreamif train` (.safetensors) or `dreamif export` (.onnx, .xml, .torchscript)",
) -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=f"file of {files} to use instead of the packaged weights",
    )


def add_networks_options(parser: argparse.ArgumentParser) -> None:
    """``--variant`` and ``--weights`` for verbs that compare networks."""
    add_variants_option(parser, "nano, unless --weights is given")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[LABEL=]FILE",
        help="safetensors file to compare too; may be given several times",
    )


def chosen_variants(options: argparse.Namespace) -> list[str]:
    """What ``--variant`` of :func:`add_networks_options` asks for, or its default."""
    return options.variant or ([] if options.weights else ["nano"])


def split_label(text: str) -> tuple[str, Path]:
    """Label, empty without one, and file of ``[LABEL=]FILE``."""
    label, _, path = text.rpartition("=")
    return label, Path(path)
