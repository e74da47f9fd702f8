"""Decides from the image alone whether dense tissue is stored dark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.imaging.resampling import shrink

LONG_SIDE = 192
BINS = 256


def is_inverted(pixels: npt.NDArray[np.float32]) -> bool:
    """Whether air is bright, so that the image must be inverted.

    Air is the purest extreme of a mammogram: many pixels of one value at the dark end, or at the
    bright end when the image is stored inverted; tissue that reaches either end spreads over many
    values. Compared are the largest shares of pixels within 1/128 of the range in the darkest and
    in the brightest quarter of the range.

    Args:
        pixels: ``(rows, columns)``, any range.
    """
    small = shrink(pixels, LONG_SIDE)
    low, high = float(small.min()), float(small.max())
    if high <= low:
        return False
    shares = np.histogram(small, bins=BINS, range=(low, high))[0]
    spikes = np.convolve(shares, [1, 1], "same")
    return bool(spikes[3 * BINS // 4 :].max() > spikes[: BINS // 4].max())
