"""The parameter files that the launch files give to nodes."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dreamif_model import ConfigError
from dreamif_model.yaml_file import read_yaml


def check_file(argument: str, path: str) -> str:
    """Return the path of a file that exists; launch would only warn of one that does not."""
    if not Path(path).is_file():
        raise ConfigError(f"{argument}: there is no file {path}")
    return path


def file_of_one_node(node: str, path: str, overrides: dict[str, Any]) -> str:
    """Write a parameter file that is for one node only, with ``overrides``.

    In one process both nodes read a file for ``/**``, so that the second file would change the
    parameters of the first node as well. The file goes away when the launch ends.
    """
    values: dict[str, Any] = {}
    entries = read_yaml(Path(path)) or {}
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: expected node names, each with ros__parameters")
    for pattern, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("ros__parameters"), dict):
            raise ConfigError(
                f"{path}: {pattern} has no ros__parameters: expected name: value lines"
            )
        if str(pattern).split("/")[-1] in ("**", node):
            values |= entry["ros__parameters"]
    with tempfile.NamedTemporaryFile("w", prefix=f"{node}_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump({f"/**/{node}": {"ros__parameters": values | overrides}}, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name
