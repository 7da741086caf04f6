"""Options that several verbs share, and their checks, which come before any work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dreamif_model import ConfigError
from dreamif_model.cameras import Both
from dreamif_ros.bag.camera_topics import TOPIC_OPTIONS


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


def make_folder(option: str, path: Path) -> None:
    """Make the folder that ``option`` names; ConfigError where a part of its path is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise ConfigError(f"{option} {file} is a file, expected a folder") from None
