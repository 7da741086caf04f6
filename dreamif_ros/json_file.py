"""Writes JSON files for all verbs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from dreamif_model.output_files import JSON_MARK, write_whole


def write_json(path: Path, content: Any) -> None:
    """Write an object, or a list of them, as :func:`plain` gives it, marked as ours."""
    made = plain(content)
    marked = [JSON_MARK | row for row in made] if isinstance(made, list) else JSON_MARK | made
    write_whole(path, json.dumps(marked, indent=2) + "\n")


def plain(value: Any) -> Any:
    """Dictionaries, lists, text and numbers only; infinite and NaN become None: JSON lacks them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
