"""A rectangle in pixels: a doctor's mark, or a detection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, from 0; ``x1`` and ``y1`` exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: str = ""
