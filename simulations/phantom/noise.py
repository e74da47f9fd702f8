"""Random fields with the power-law spectrum of breast anatomy (Burgess 2001), and cheap large-scale blurring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import irfft2
from scipy.ndimage import gaussian_filter

from simulations.phantom.frame import Field, Frame, resample


@dataclass(frozen=True)
class Band:
    """One term of a spectrum: power ∝ weight²·(f² + 1/scale²)^(−beta/2), scaled to variance weight²."""

    weight: float
    beta: float
    scale_mm: float


def power_law(rng: np.random.Generator, shape: tuple[int, int], spacing: float, bands: Sequence[Band]) -> Field:
    """Periodic Gaussian field float32 ``shape`` of zero mean whose variance is the sum of the bands' weight²."""
    amplitude = _amplitude(shape, spacing, tuple(bands))
    spectrum = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum *= amplitude
    field: Field = irfft2(spectrum, s=shape, norm="forward", overwrite_x=True)
    return field


@lru_cache(maxsize=128)
def _amplitude(shape: tuple[int, int], spacing: float, bands: tuple[Band, ...]) -> Field:
    fy = np.fft.fftfreq(shape[0], spacing)[:, None]
    fx = np.fft.rfftfreq(shape[1], spacing)[None, :]
    # In the half spectrum every column but the first (and the Nyquist one) stands for two frequencies.
    twice = np.full(fx.shape[1], 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    power = np.zeros((shape[0], fx.shape[1]))
    for band in bands:
        term = (fy**2 + fx**2 + band.scale_mm**-2) ** (-band.beta / 2)
        term[0, 0] = 0.0
        power += band.weight**2 * term / (2.0 * (term * twice).sum())
    return np.sqrt(power).astype(np.float32)


def blur(field: Field, frame: Frame, sigma_mm: float) -> Field:
    """Gaussian blur of ``sigma_mm``, on a coarser grid when σ is many pixels (error far below the noise)."""
    sigma = sigma_mm / frame.spacing
    step = int(sigma // 2.5)
    if step < 2:
        return _gaussian(field, sigma)
    rows, columns = -(-frame.rows // step), -(-frame.columns // step)
    padded = np.pad(field, ((0, rows * step - frame.rows), (0, columns * step - frame.columns)), mode="edge")
    coarse = padded.reshape(rows, step, columns, step).mean(axis=(1, 3), dtype=np.float32)
    # Averaging over a cell adds (step² − 1)/12 pixel² of variance of its own.
    coarse = _gaussian(coarse, float(np.sqrt(max(sigma**2 - (step**2 - 1) / 12, 0.0))) / step)
    return resample(coarse, Frame(rows, columns, frame.spacing * step, frame.top), frame)


def _gaussian(field: Field, sigma: float) -> Field:
    result: Field = gaussian_filter(field, sigma, mode="nearest", truncate=3.0)
    return result
