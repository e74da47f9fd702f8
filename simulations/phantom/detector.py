"""From attenuation to detector signal: automatic exposure, scatter, blur, quantum noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulations.phantom.frame import Field, Frame
from simulations.phantom.noise import blur
from simulations.phantom.sites import Acquisition

_ELECTRONIC = 0.01


def expose(
    healthy: Field,
    patch: tuple[slice, slice] | None,
    added: Field | None,
    breast: NDArray[np.bool_],
    frame: Frame,
    thickness_mm: float,
    acquisition: Acquisition,
    rng: np.random.Generator,
) -> tuple[Field, Field]:
    """Signal behind the breast, relative to the exposure reference, and the noise-free signal of its healthy twin.

    Exposure and scatter are those of ``healthy``, the same breast without its lesion: they must not see the lesion
    (PHANTOM §7). ``added`` is the lesion's attenuation in ``patch``. A thick breast gets a harder beam.
    """
    hardness = np.float32((50.0 / thickness_mm) ** 0.30)
    inside = healthy[::3, ::3][breast[::3, ::3]]
    reference = np.float32(np.quantile(inside, 0.80)) * hardness
    primary = np.exp(np.minimum(reference - hardness * healthy, 3.5))
    glare = np.float32(acquisition.scatter) * blur(np.minimum(primary, 6.0), frame, 12.0)
    twin = primary + glare
    if patch is not None and added is not None:
        signal = twin.copy()
        signal[patch] = primary[patch] * np.exp(-hardness * added) + glare[patch]
    else:
        signal = twin
    if acquisition.blur_mm > 0.3 * frame.spacing:
        signal = blur(signal, frame, acquisition.blur_mm)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    if acquisition.correlated_noise > 0:
        noise = _correlate(noise, frame, acquisition.correlated_noise)
    quanta = np.float32(acquisition.quanta * frame.spacing**2)
    return signal + noise * np.sqrt(signal / quanta + np.float32(_ELECTRONIC**2 * 0.01 / frame.spacing**2)), twin


def _correlate(noise: Field, frame: Frame, share: float) -> Field:
    """Give ``share`` of the noise a correlation length of 0.15 mm, at unit pixel variance (CR plate granularity)."""
    smooth = blur(noise, frame, 0.15)
    mixed: Field = (1 - share) * noise + share * smooth
    return mixed / np.float32(mixed.std())
