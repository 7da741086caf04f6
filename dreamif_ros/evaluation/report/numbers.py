"""Numbers as people read them, and as JSON takes them."""

from __future__ import annotations

import math

NOT_KNOWN = "–"


def number(value: float | None, digits: int | None = None) -> str:
    """With so many decimals, by default for three or four digits; a dash where not finite."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if digits is None:
        digits = next((d for d, most in ((4, 0.1), (3, 10), (2, 100)) if abs(value) < most), 1)
    return signed(f"{value:.{digits}f}")


def milliseconds(value: float | None) -> str:
    """Of milliseconds: ``4.1 ms``, ``52 ms``."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    return signed(f"{value:.{0 if abs(value) >= 10 else 1}f} ms")


def seconds(value: float) -> str:
    """Of seconds: ``4.25 s``, ``10.0 s``, ``3 min 20 s``."""
    if value >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest} s"
    return signed(f"{value:.{2 if abs(value) < 10 else 1}f} s")


def percent(share: float) -> str:
    """Of a share in [0, 1]; never 0 % or 100 % unless it is."""
    if not math.isfinite(share):
        return NOT_KNOWN
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{min(max(share, 0.001), 0.999):.1%}".replace("%", " %")
    return f"{share:.0%}".replace("%", " %")


def count(amount: float, noun: str, plural: str = "") -> str:
    """``1 pair``, ``300 pairs``; a thin space between thousands."""
    return f"{whole(amount)} {noun if amount == 1 else plural or noun + 's'}"


def whole(amount: float) -> str:
    """A whole number with a thin space between thousands."""
    return signed(f"{amount:,.0f}".replace(",", "\u2009"))


def signed(text: str) -> str:
    """With a real minus sign, and none before zero."""
    if text.startswith("-") and not any(digit in text for digit in "123456789"):
        text = text[1:]
    return text.replace("-", "−")


def plain(value: float | None) -> float | None:
    """For JSON and charts: seven significant digits, None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.7g}")


def plain_list(values: list[float | None]) -> list[float | None]:
    """:func:`plain` of each."""
    return [plain(value) for value in values]


def median(values: list[float]) -> float:
    """Of one or more."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
