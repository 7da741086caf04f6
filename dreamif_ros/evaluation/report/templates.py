"""The templates, styles and scripts of the pages, which lie beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def environment() -> Any:
    """The environment of the templates; ModuleNotFoundError where jinja2 is not installed."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def text(name: str) -> str:
    """The content of a style or a script."""
    return (HERE / name).read_text(encoding="utf-8")
