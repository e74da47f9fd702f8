"""How numbers are written in the report: fixed decimals, a dash for what is not there."""

from __future__ import annotations

import math
from typing import TypeGuard

from common.protocol import Estimate

MINUS, EN_DASH, THIN_SPACE, NO_BREAK = "\u2212", "\u2013", "\u202f", "\u00a0"
ABSENT = EN_DASH


def defined(value: float | None) -> TypeGuard[float]:
    """Whether a number is there and finite."""
    return value is not None and math.isfinite(value)


def mean(values: list[float]) -> float | None:
    """Plain mean; None of nothing."""
    return sum(values) / len(values) if values else None


def number(value: float | None, decimals: int = 3) -> str:
    """``0.879``; a dash when not defined."""
    return f"{value:.{decimals}f}" if defined(value) else ABSENT


def signed(value: float | None, decimals: int = 3) -> str:
    """``+0.012`` or ``−0.012`` with a true minus sign; exactly zero carries no sign."""
    if not defined(value):
        return ABSENT
    text = f"{abs(value):.{decimals}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def interval(estimate: Estimate, decimals: int = 3) -> str:
    """``0.821–0.934``; empty when there is no interval."""
    if not (defined(estimate.low) and defined(estimate.high)):
        return ""
    return f"{estimate.low:.{decimals}f}{EN_DASH}{estimate.high:.{decimals}f}"


def count(value: int | None) -> str:
    """``12 345`` with a thin non-breaking space between thousands."""
    return f"{value:,}".replace(",", THIN_SPACE) if value is not None else ABSENT


def share(value: float) -> str:
    """``90 %``, with a decimal only where it is needed (``97.5 %``)."""
    return f"{100 * value:.4g}{NO_BREAK}%"


def error_share(value: float) -> str:
    """How far something is off, to one digit: ``4 %``, ``0.2 %``, ``less than 0.1 %``."""
    return f"less than 0.1{NO_BREAK}%" if value < 0.001 else share(float(f"{value:.1g}"))


def bytes_text(value: float | None) -> str:
    """``12.3 MB`` (powers of 1000)."""
    if not defined(value):
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float | None) -> str:
    """``12.3 s``, ``4 min 05 s`` or ``2 h 10 min``."""
    if not defined(seconds):
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
