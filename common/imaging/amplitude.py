"""Low frequencies: wide differences of brightness within an image are made as strong as they are on average over sites.

Source: Yang & Soatto 2020, CVPR, arXiv 2004.05498, equation 3 (FDA: the amplitude of low frequencies is replaced, the
phase stays); Jiang, Wang & Dou 2022, AAAI, arXiv 2112.10775 (HarmoFL: by the mean over sites). Differences:
frequencies up to 4 cycles over the height of the frame (waves of 5 cm and more), whatever its number of pixels, so
that masses, spicules and calcifications are not touched; the mean grey value (frequency 0) stays, since
``percentile`` has set it already and a lesion would move it; amplitudes are measured, and the change is computed, on
values cut off a spread above and below the tissue's median, where a lesion is no brighter than gland; none is changed
by more than a factor of 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft

from common.configuration.standard_scale import check_scale

VERTICAL, HORIZONTAL = 4, 3
"""Highest frequencies, cycles over the frame's height and width; of the frame, 3 across are about as long as 4 down."""
SIZE = VERTICAL + HORIZONTAL * (2 * VERTICAL + 1)
"""Numbers that a site sends: the others follow by symmetry, and frequency 0 stays."""
CUT = 1.0
"""Values count to so many spreads from the median."""
STRONGEST = 1.5
SMALLEST = 1e-6
"""Amplitude of a flat picture."""


def of_image(
    values: npt.NDArray[np.float32], breast: npt.NDArray[np.bool_], frame: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Amplitudes ``(31,)`` of the low frequencies, per pixel of the breast; air counts as the tissue's median.

    Args:
        values: float32 ``(H, W)``, median 0, spread 1.
        breast: bool ``(H, W)``, not empty.
        frame: rows and columns, at least ``(H, W)``; frequencies are counted over it.
    """
    robust = np.clip(values, -CUT, CUT)
    return _half(np.abs(_spectrum(robust, breast, frame))) / max(1, int(breast.sum()))


def to_scale(
    values: npt.NDArray[np.float32], breast: npt.NDArray[np.bool_], scale: Sequence[float], frame: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Give an image the low frequencies' amplitudes of the scale; phases and all other frequencies stay.

    Args:
        values: float32 ``(H, W)``, median 0, spread 1.
        breast: bool ``(H, W)``; where it is empty nothing is changed.
        scale: ``(31,)`` positive.
        frame: as in :func:`of_image`.

    Returns:
        float32 ``(H, W)``; outside the breast without meaning.

    Raises:
        ValueError: the scale has another size, or a number that is not positive.
    """
    check_scale("amplitude", scale)
    wanted = np.asarray(scale, dtype=np.float64)
    if not breast.any():
        return values
    own = np.maximum(of_image(values, breast, frame), SMALLEST)
    gains = np.clip(wanted / own, 1.0 / STRONGEST, STRONGEST)
    spectrum = _spectrum(np.clip(values, -CUT, CUT), breast, frame)
    rows = [*range(VERTICAL + 1), *range(-VERTICAL, 0)]
    correction = np.zeros_like(spectrum)
    correction[rows, : HORIZONTAL + 1] = (_block(gains) - 1.0) * spectrum[rows, : HORIZONTAL + 1]
    added = fft.irfft2(correction, s=frame, workers=1)[: values.shape[0], : values.shape[1]]
    return np.asarray(values + added, dtype=np.float32)


def _spectrum(
    values: npt.NDArray[np.float32], breast: npt.NDArray[np.bool_], frame: tuple[int, int]
) -> npt.NDArray[np.complex128]:
    inside = np.where(breast, values, 0.0).astype(np.float64)
    return np.asarray(fft.rfft2(inside, s=frame, workers=1))


def _half(spectrum: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The low frequencies that are not the mirror image of another: one column downwards, then the others whole."""
    rows = [*range(VERTICAL + 1), *range(-VERTICAL, 0)]
    return np.concatenate([spectrum[1 : VERTICAL + 1, 0], spectrum[rows, 1 : HORIZONTAL + 1].ravel()])


def _block(half: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gains ``(9, 4)`` of the low frequencies; 1 at frequency 0."""
    downwards = half[:VERTICAL]
    first = np.concatenate([[1.0], downwards, downwards[::-1]])
    return np.column_stack([first, half[VERTICAL:].reshape(2 * VERTICAL + 1, HORIZONTAL)])
