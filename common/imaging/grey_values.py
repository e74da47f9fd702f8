"""Stored values of a DICOM image to grey values 0..1, as its header tells (PS3.3 C.7.6.3, C.8.11.3, C.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from common.imaging.lookup import LookupTable, Values, as_stored, lookup_table, window
from common.imaging.polarity import is_inverted

Pixels = npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer]
EMPTIED = (
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence",
)  # fmt: skip
"""Attributes that anonymisers leave there, but empty: the same as not there."""
SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
"""The Presentation LUT Shape that each photometric interpretation goes with (C.8.11.3.1.2)."""
BLOCK = 256
"""Rows looked up at once."""


def grey_values(header: FileDataset, stored: Stored) -> tuple[Pixels, bool]:
    """Grey values, and whether it is sure that dense tissue is bright in them.

    Args:
        header: its empty grey attributes are removed.
        stored: ``(rows, columns)``, or ``(rows, columns, 3)`` in colour.

    Returns:
        float32 ``(rows, columns)``, 0..1 of full scale; declared padding has the value of air.

    Raises:
        ValueError: window, tables or rescale values make no picture; colours from a palette.
    """
    for name in EMPTIED:
        if name in header and not header[name].value and header[name].value != 0:
            del header[name]
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        raise ValueError("its pixels are numbers of a palette's colours, no grey values")
    if stored.ndim == 3:
        full = 2.0 ** int(header.BitsStored) - 1.0
        grey: Pixels = np.asarray(np.mean(stored, axis=2, dtype=np.float32))
        return np.clip(grey / np.float32(full), 0.0, 1.0), False
    padding = _padding(header, stored) if "PixelPaddingValue" in header else None
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING":
        pixels, trusted = _attenuation(header, stored, padding), True
    else:
        pixels, trusted = _presented(header, stored), _polarity_told(header, photometric)
    if padding is not None:
        # Where the image itself is asked for its polarity, padding must not speak against its air.
        pixels[padding] = 0.0 if trusted else float(is_inverted(_beside(pixels, padding)))
    return pixels, trusted


def _presented(header: FileDataset, stored: Stored) -> Pixels:
    """Values for a display: worked out once for each stored value, not for each pixel."""
    first, last = int(stored.min()), int(stored.max())
    curve = _display(header, np.arange(first, last + 1, dtype=np.float64))
    if not np.isfinite(curve).all():
        raise ValueError("its window or rescale values make no picture")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        curve = 1.0 - curve
    table = np.zeros(1 << 16, dtype=np.float32)  # negative values find their place from the end
    table[np.arange(first, last + 1)] = curve
    pixels = np.empty(stored.shape, dtype=np.float32)
    for top in range(0, len(stored), BLOCK):  # numpy makes eight bytes of every index
        pixels[top : top + BLOCK] = table[stored[top : top + BLOCK]]
    return pixels


def _display(header: FileDataset, values: Values) -> Values:
    """Modality transformation, then VOI table, window or neither (full scale): shares 0..1.

    Where both a table and a window are there, the table is meant (either may be applied: C.11.2). Of
    several tables or windows the first.
    """
    signed = bool(header.PixelRepresentation)
    low, high = stored_range(header)
    if "ModalityLUTSequence" in header:
        table = _table(header, "ModalityLUTSequence", signed)
        values, low, high = table.apply(values), 0.0, table.full_scale
    elif "RescaleSlope" in header and "RescaleIntercept" in header:
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
        values, low, high = values * slope + intercept, low * slope + intercept, high * slope + intercept
        if not slope:
            raise ValueError("its window or rescale values make no picture (slope 0)")
    low, high = min(low, high), max(low, high)
    if "VOILUTSequence" in header:
        table = _table(header, "VOILUTSequence", low < 0)
        return table.apply(values) / table.full_scale
    if "WindowCenter" in header and "WindowWidth" in header:
        function = str(header.get("VOILUTFunction", "LINEAR")).strip().upper()
        return window(values, _first(header.WindowCenter), _first(header.WindowWidth), function)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _table(header: FileDataset, name: str, signed: bool) -> LookupTable:
    return lookup_table(header[name].value[0], signed, bool(header.original_encoding[1]))


def _first(value: object) -> float:
    return float(cast(float, value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value))


def _polarity_told(header: FileDataset, photometric: str) -> bool:
    """Whether to believe the header: a mammogram's own, and not in contradiction with itself.

    Secondary captures often carry a photometric interpretation that nobody checked.
    """
    if photometric not in SHAPES or header.get("Modality") != "MG":
        return False
    shape = header.get("PresentationLUTShape")
    return shape == SHAPES[photometric] or shape not in SHAPES.values()


def stored_range(header: FileDataset) -> tuple[float, float]:
    """Smallest and largest value that the header's bits can hold."""
    bits = int(header.BitsStored)
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if header.PixelRepresentation else (0.0, 2.0**bits - 1.0)


def _padding(header: FileDataset, stored: Stored) -> npt.NDArray[np.bool_]:
    """Pixels that the header declares to be no part of the picture (C.7.5.1.1.2): a value, or a range with its ends."""
    signed = bool(header.PixelRepresentation)
    value = as_stored(int(header.PixelPaddingValue), signed)
    limit = as_stored(int(header.get("PixelPaddingRangeLimit", value)), signed)
    return (stored >= min(value, limit)) & (stored <= max(value, limit))


def _beside(pixels: Pixels, padding: npt.NDArray[np.bool_] | None) -> Pixels:
    """The image with padding at the middle of its range, where it has no say in the polarity."""
    if padding is None or padding.all():
        return pixels
    picture = pixels[~padding]
    return np.where(padding, (picture.min() + picture.max()) / 2, pixels)


def _attenuation(header: FileDataset, stored: Stored, padding: npt.NDArray[np.bool_] | None) -> Pixels:
    """For-Processing values as attenuation 0..1: a fixed logarithm, so that dense tissue is bright.

    PixelIntensityRelationship LOG needs none. Its sign (+1: larger value, more X-rays) says which way
    the values run; where it is missing, the image does: air is what most X-rays reach.
    """
    low, high = stored_range(header)
    full = high - low
    values = np.clip(stored.astype(np.float32) - np.float32(low), 0.0, full)
    sign = header.get("PixelIntensityRelationshipSign")
    rising = is_inverted(_beside(values, padding)) if sign is None else int(sign) > 0
    exposure = values if rising else full - values
    if str(header.get("PixelIntensityRelationship", "LIN")) == "LOG":
        return cast(Pixels, 1.0 - exposure / full)
    return np.asarray(-np.log(np.maximum(exposure, 1.0) / full) / np.log(full), dtype=np.float32)
