"""Rows of text as a table, for a terminal or in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dreamif_model import ConfigError
from dreamif_model.errors import shown
from dreamif_model.image_files import MAX_SIDE


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of aligned columns: the first to the left, the others to the right."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "".join(
        "  ".join(
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        + "\n"
        for row in table
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Width and height of ``640x512``; ConfigError for anything else."""
    found = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if found:
        size = int(found[1]), int(found[2])
        if min(size) >= 1 and max(size) <= MAX_SIDE:
            return size
    raise ConfigError(
        f"{option} is {shown(text)}, expected WIDTHxHEIGHT in pixels, up to {MAX_SIDE}: 640x512"
    )
