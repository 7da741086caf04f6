"""Progress bars of the verbs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], unit: str, count: int | None = None) -> Iterator[T]:
    """The items, with a bar if stderr is a terminal; count: of items that have no length."""
    return iter(tqdm(items, total=count, unit=unit, disable=None))
