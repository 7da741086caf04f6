"""Numbers as people read them, and as JSON takes them."""

from __future__ import annotations

import math

NOT_KNOWN = "–"


def number(value: float | None, digits: int | None = None) -> str:
    """A number with ``digits`` decimals, by default three or four digits; a dash: not finite."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if digits is None:
        digits = next((d for d, limit in ((4, 0.1), (3, 10), (2, 100)) if abs(value) < limit), 1)
    return signed(f"{value:.{digits}f}")


def milliseconds(value: float | None) -> str:
    """Milliseconds as text: ``4.1 ms``, ``52 ms``."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    return signed(f"{value:.{0 if abs(value) >= 10 else 1}f} ms")


def seconds(value: float) -> str:
    """Seconds as text: ``4.25 s``, ``10.0 s``, ``3 min 20 s``."""
    if value >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest} s"
    return signed(f"{value:.{2 if abs(value) < 10 else 1}f} s")


def percent(share: float) -> str:
    """A share in [0, 1] as text; 0 % and 100 % only where it is exactly that."""
    if not math.isfinite(share):
        return NOT_KNOWN
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{min(max(share, 0.001), 0.999):.1%}".replace("%", " %")
    return f"{share:.0%}".replace("%", " %")


def count(amount: float, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 pair``, ``300 pairs``; a thin space between thousands."""
    return f"{whole(amount)} {noun if amount == 1 else plural or noun + 's'}"


def whole(amount: float) -> str:
    """A whole number with a thin space between thousands."""
    return signed(f"{amount:,.0f}".replace(",", "\u2009"))


def signed(text: str) -> str:
    """The text with a real minus sign, and without one before zero."""
    if text.startswith("-") and not any(digit in text for digit in "123456789"):
        text = text[1:]
    return text.replace("-", "−")


def plain(value: float | None) -> float | None:
    """A number for JSON and charts: seven significant digits; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.7g}")


def plain_list(values: list[float | None]) -> list[float | None]:
    """:func:`plain` of each."""
    return [plain(value) for value in values]
