"""What a vendor does with the signal: display processing or linear raw data, grey scale, polarity; and its inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulations.phantom.anatomy import MU_FAT
from simulations.phantom.frame import Field, Frame
from simulations.phantom.noise import blur
from simulations.phantom.sites import Acquisition, DisplayCurve

_RAW_FULL_SCALE = 12.0
_WINDOW = (0.02, 0.995)
_WIDEN = 1.15
_TABLE = 1024


def display(
    signal: Field,
    twin: Field,
    depth: Field,
    path: Field,
    frame: Frame,
    acquisition: Acquisition,
) -> Field:
    """Processed brightness 0..1 (dense is bright); the window comes from the lesion-free ``twin`` only (PHANTOM §7)."""
    lift = _peripheral_lift(depth, path, acquisition)
    dark = np.float32(np.exp(-12.0))
    image = lift - np.log(np.maximum(signal, dark))
    inside = (slice(None, None, 3), slice(None, None, 3))
    reference = (lift[inside] - np.log(np.maximum(twin[inside], dark)))[depth[inside] > 0]
    low, high = np.quantile(reference, _WINDOW)
    high = low + _WIDEN * (high - low)
    if acquisition.unsharp > 0:
        image += np.float32(acquisition.unsharp) * (image - blur(image, frame, acquisition.unsharp_mm))
    scaled = np.clip((image - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    table = curve(acquisition)
    return _lookup(table, scaled)


def store(image: Field, acquisition: Acquisition) -> NDArray[np.uint16]:
    """Brightness 0..1 (presentation) or signal (processing) as stored pixel values."""
    full = float(2**acquisition.bits - 1)
    if acquisition.intent == "FOR PROCESSING":
        value = image * np.float32(full / _RAW_FULL_SCALE)
    else:
        shown = 1 - image if acquisition.photometric == "MONOCHROME1" else image
        value = np.float32(acquisition.offset) + np.float32(acquisition.span * full) * shown
    stored: NDArray[np.uint16] = np.clip(value + 0.5, 0, full).astype(np.uint16)
    return stored


def decode(stored: NDArray[np.uint16], acquisition: Acquisition) -> Field:
    """Stored values back to 0..1 of full scale with dense tissue bright; the logarithm is taken of raw data."""
    full = np.float32(2**acquisition.bits - 1)
    value = stored.astype(np.float32) / full
    if acquisition.intent == "FOR PROCESSING":
        logarithm: Field = -np.log(np.maximum(value, np.float32(1e-3))) / np.float32(np.log(1e3))
        return logarithm
    return 1 - value if acquisition.photometric == "MONOCHROME1" else value


def curve(acquisition: Acquisition) -> Field:
    """Display LUT sampled on 0..1, float32 (1024,): the weighted curves, clipped and kept monotone."""
    x = np.linspace(0, 1, _TABLE)
    total = sum((weight * _shape(x, one) for weight, one in acquisition.curves), np.zeros(_TABLE))
    return np.maximum.accumulate(np.clip(total, 0, 1)).astype(np.float32)


def _shape(x: NDArray[np.float64], one: DisplayCurve) -> NDArray[np.float64]:
    if one.kind == "gamma":
        return x**one.a
    raw = 1 / (1 + np.exp(-one.a * (x - one.b)))
    return np.asarray((raw - raw[0]) / (raw[-1] - raw[0]))


def _lookup(table: Field, scaled: Field) -> Field:
    position = scaled * np.float32(_TABLE - 1)
    index = np.minimum(position.astype(np.int32), _TABLE - 2)
    result: Field = table[index] + (position - index) * (table[index + 1] - table[index])
    return result


def _peripheral_lift(depth: Field, path: Field, acquisition: Acquisition) -> Field:
    """Peripheral equalisation: part of the fat missing towards the skin; from geometry, never from the image."""
    if acquisition.peripheral == 0:
        return np.zeros_like(depth)
    missing = np.float32(path.max()) - path
    fade = np.clip(depth / 4.0, 0, 1)
    lift: Field = np.float32(acquisition.peripheral * MU_FAT) * missing * fade
    return lift
