"""Maps grey values to what a network sees. Nothing here may look at the brightest tissue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.configuration.standard_scale import SIZES
from common.imaging import amplitude, landmarks

Pixels = npt.NDArray[np.float32]

OUTSIDE = -3.0
DARKEST = -2.9375
"""Of tissue: above ``OUTSIDE``, which means air to everything that follows; exact in float16."""
BRIGHTEST = 5.0
DETAIL_SCALE = 1.0 / 50.0
"""Width (sigma) of what counts as local, share of the longer side of the picture: about 4 mm of a breast."""
DETAIL_GAIN = 2.0
SCALED = tuple(SIZES)
"""Methods that need a scale that all sites of a run have in common."""


def harmonise(
    pixels: Pixels,
    breast: npt.NDArray[np.bool_],
    method: str,
    scale: Sequence[float] = (),
    frame: tuple[int, int] | None = None,
) -> Pixels:
    """Map grey values 0..1 to roughly zero mean and unit spread; air becomes a constant.

    ``none``: a fixed line, ``4 x - 1``. ``percentile``: ``(x - median) / s`` with s half the distance
    between the 10 % and 70 % quantiles inside the breast. Both quantiles and median are low on purpose:
    an upper quantile moves with a bright lesion, which then darkens the whole breast and betrays
    itself to a network (see docs/phantom.md). ``local_contrast``: the same, less its Gaussian mean over the
    tissue nearby, times 2: spicules, margins and texture stay; density, film response and machine curves, which
    differ from site to site, mostly go. 0 is then the tissue around. ``landmarks`` and ``amplitude``: what
    ``percentile`` gives, brought to a scale that all sites of a run have in common
    (:mod:`common.imaging.landmarks`, :mod:`common.imaging.amplitude`).

    Args:
        pixels: float32 ``(H, W)``, 0..1, dense tissue bright, chest wall at the left edge.
        breast: bool ``(H, W)``.
        method: ``none``, ``percentile``, ``local_contrast``, ``landmarks`` or ``amplitude``.
        scale: of the run (``imaging.standard_scale``), for ``landmarks`` and ``amplitude``.
        frame: rows and columns of the network's input, of which ``pixels`` are a part; ``amplitude`` counts its
            frequencies over it.

    Returns:
        float32 ``(H, W)``: -2.9375..5 in the breast, -3 outside.

    Raises:
        ValueError: unknown method, or a scale that is not of this method.
    """
    match method:
        case "none":
            mapped = 4.0 * pixels - 1.0
        case "percentile":
            mapped = _standardised(pixels, breast)
        case "local_contrast":
            mapped = _detail(_standardised(pixels, breast), breast)
        case "landmarks":
            mapped = landmarks.to_scale(_standardised(pixels, breast), breast, scale)
        case "amplitude":
            mapped = amplitude.to_scale(_standardised(pixels, breast), breast, scale, frame or breast.shape)
        case _:
            raise ValueError(f"unknown harmonisation '{method}'")
    return np.where(breast, np.clip(mapped, DARKEST, BRIGHTEST), OUTSIDE).astype(np.float32)


def statistics(
    pixels: Pixels, breast: npt.NDArray[np.bool_], method: str, frame: tuple[int, int] | None = None
) -> npt.NDArray[np.float64]:
    """What an image adds to the scale of ``landmarks`` or ``amplitude``: a scale equal to it leaves the image as it is.

    Args:
        pixels: as in :func:`harmonise`.
        breast: likewise; not empty.
        method: ``landmarks`` or ``amplitude``.
        frame: as in :func:`harmonise`.

    Returns:
        float64 ``(9,)`` or ``(31,)``.

    Raises:
        ValueError: a method that needs no scale.
    """
    match method:
        case "landmarks":
            return landmarks.of_image(_standardised(pixels, breast), breast)
        case "amplitude":
            return amplitude.of_image(_standardised(pixels, breast), breast, frame or breast.shape)
        case _:
            raise ValueError(f"'{method}' has no scale")


def _standardised(pixels: Pixels, breast: npt.NDArray[np.bool_]) -> Pixels:
    low, middle, upper = np.quantile(pixels[breast], (0.1, 0.5, 0.7)) if breast.any() else (0.0, 0.5, 1.0)
    return np.asarray((pixels - middle) / max(0.5 * (upper - low), 1e-3), dtype=np.float32)


def _detail(values: Pixels, breast: npt.NDArray[np.bool_]) -> Pixels:
    """What rises above the tissue nearby; air does not count as tissue, so the skin is no edge."""
    sigma = DETAIL_SCALE * max(values.shape)
    weight = ndimage.gaussian_filter(breast.astype(np.float32), sigma)
    nearby = ndimage.gaussian_filter(np.where(breast, values, 0.0), sigma) / np.maximum(weight, 1e-3)
    return np.asarray(DETAIL_GAIN * (values - nearby), dtype=np.float32)
