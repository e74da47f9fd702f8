"""Resampling that does not alias: an antialiasing filter as wide as the shrinkage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float32]


def resample(
    pixels: Pixels, rows: int, columns: int, region: tuple[float, float, float, float] | None = None
) -> Pixels:
    """Resample a region to ``(rows, columns)`` with a triangle filter (bilinear when enlarging).

    Args:
        pixels: float32 ``(H, W)``.
        rows: rows of the result.
        columns: columns of the result.
        region: x0, y0, x1, y1 in pixels; the whole image where it is ``None``.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR, box=region, reducing_gap=3.0))


def shrink(pixels: Pixels, long_side: int) -> Pixels:
    """Box-average so that the longer side has at most ``long_side`` pixels."""
    factor = long_side / max(pixels.shape)
    if factor >= 1:
        return np.asarray(pixels, dtype=np.float32)
    rows, columns = (max(1, round(length * factor)) for length in pixels.shape)
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))
