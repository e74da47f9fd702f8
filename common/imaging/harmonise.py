"""Maps grey values to what a network sees. Nothing here may look at the brightest tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

OUTSIDE = -3.0
BRIGHTEST = 5.0


def harmonise(pixels: Pixels, breast: npt.NDArray[np.bool_], method: str) -> Pixels:
    """Map grey values 0..1 to roughly zero mean and unit spread; air becomes a constant.

    ``none``: a fixed line, ``4 x - 1``. ``percentile``: ``(x - median) / s`` with s half the distance
    between the 10 % and 70 % quantiles inside the breast. Both quantiles and median are low on purpose:
    an upper quantile moves with a bright lesion, which then darkens the whole breast and betrays
    itself to a network (see docs/phantom.md).

    Args:
        pixels: float32 ``(H, W)``, 0..1, dense tissue bright.
        breast: bool ``(H, W)``.
        method: ``none`` or ``percentile``.

    Returns:
        float32 ``(H, W)`` within -3..5, -3 outside the breast.

    Raises:
        ValueError: unknown method.
    """
    match method:
        case "none":
            mapped = 4.0 * pixels - 1.0
        case "percentile":
            low, middle, upper = np.quantile(pixels[breast], (0.1, 0.5, 0.7)) if breast.any() else (0.0, 0.5, 1.0)
            mapped = (pixels - middle) / max(0.5 * (upper - low), 1e-3)
        case _:
            raise ValueError(f"unknown harmonisation '{method}'")
    return np.where(breast, np.clip(mapped, OUTSIDE, BRIGHTEST), OUTSIDE).astype(np.float32)
