"""A finding, and how a check that fails becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the page; advice: What to do, empty if all is well."""

    name: str
    state: State
    text: str
    advice: str = ""


def run_check(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield the findings of one check; where it cannot run, one that says why."""
    try:
        yield from check()
    except Exception as error:
        why = " ".join(str(error).split()) or "no reason was given"
        yield Finding(name, "warning", f"not known: {type(error).__name__}: {why}")
