"""Landmarks of grey values: each image's quantiles are brought to those that all sites have in common.

Source: Nyúl & Udupa 1999, Magn. Reson. Med. 42:1072; Nyúl, Udupa & Zhang 2000, IEEE Trans. Med. Imaging 19:143 (there
the scale is learnt in one place; here it is the mean of what sites send). Differences: the first, linear step is the
project's robust one (``percentile``), because landmarks must not move with a lesion; for the same reason the highest is
the 80 % quantile, and what is brighter follows the slope below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from common.configuration.standard_scale import check_scale

LEVELS = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Of the tissue inside the breast."""
NARROWEST = 1e-3
"""Two landmarks of an image are at least so far apart: a flat picture divides by nothing."""
STEEPEST = 4.0
"""Beyond the outer landmarks values are stretched by at most so much, and compressed by as much."""


def of_image(values: npt.NDArray[np.float32], breast: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Quantiles ``(9,)`` of standardised values inside the breast at :data:`LEVELS`, strictly increasing.

    Args:
        values: float32 ``(H, W)``, median 0, spread 1.
        breast: bool ``(H, W)``, not empty.
    """
    found = np.quantile(values[breast].astype(np.float64), LEVELS)
    steps = np.maximum(np.diff(found), NARROWEST)
    return np.concatenate([found[:1], found[0] + np.cumsum(steps)])


def to_scale(
    values: npt.NDArray[np.float32], breast: npt.NDArray[np.bool_], scale: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Map values by the line through (own landmark, landmark of the scale), increasing everywhere.

    Args:
        values: float32 ``(H, W)``, median 0, spread 1.
        breast: bool ``(H, W)``; where it is empty nothing is mapped.
        scale: strictly increasing, one a level.

    Raises:
        ValueError: it is not.
    """
    check_scale("landmarks", scale)
    wanted = np.asarray(scale, dtype=np.float64)
    if not breast.any():
        return values
    own = of_image(values, breast)
    slopes = np.clip(np.diff(wanted)[[0, -1]] / np.diff(own)[[0, -1]], 1.0 / STEEPEST, STEEPEST)
    mapped = np.interp(values, own, wanted)
    mapped += slopes[0] * np.minimum(values - own[0], 0.0) + slopes[1] * np.maximum(values - own[-1], 0.0)
    return np.asarray(mapped, dtype=np.float32)
