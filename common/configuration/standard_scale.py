"""What a scale of grey values must be like, by the harmonisation that uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

SIZES = {"landmarks": 9, "amplitude": 31}
"""Numbers of a scale; other harmonisations have none."""
NARROWEST = 5e-4
"""Between two landmarks of a scale, spreads of the tissue."""


def check_scale(method: str, scale: Sequence[float]) -> None:
    """Refuse a scale that is not of this harmonisation.

    Raises:
        ValueError: another number of values, one that is not finite; landmarks that do not increase, amplitudes that
            are not positive; a harmonisation without a scale.
    """
    if method not in SIZES:
        raise ValueError(f"'{method}' has no scale")
    if len(scale) != SIZES[method]:
        raise ValueError(f"the scale of {method} has {SIZES[method]} numbers, got {len(scale)}")
    if not all(map(math.isfinite, scale)):
        raise ValueError(f"the scale of {method} must be finite")
    if method == "landmarks" and any(high - low < NARROWEST for low, high in pairwise(scale)):
        raise ValueError("the landmarks of a scale must increase")
    if method == "amplitude" and min(scale) <= 0:
        raise ValueError("the amplitudes of a scale must be positive")
