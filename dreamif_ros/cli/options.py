"""Checks that options of several verbs share: what would fail later is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

from dreamif_model import ConfigError


def check_writable(option: str, path: Path | None) -> None:
    """ConfigError where the file that ``option`` names cannot be written; None is no file."""
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: make its folder first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{option} {path} may not be written: choose another place")


def make_folder(option: str, path: Path) -> None:
    """Make the folder that ``option`` names; ConfigError where it, or one above it, is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise ConfigError(f"{option} {file} is a file, expected a folder") from None
