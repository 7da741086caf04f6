"""Writes JSON files for all verbs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as :func:`plain` gives it."""
    path.write_text(json.dumps(plain(content), indent=2) + "\n", encoding="utf-8")


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
