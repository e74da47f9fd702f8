"""Lookup tables and windows of DICOM PS3.3 C.11: from one grey value to the next, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

Values = npt.NDArray[np.float64]
ENTRIES = 1 << 16
"""A descriptor holds 16 bits: this many entries are written as 0."""


@dataclass(frozen=True)
class LookupTable:
    """Values of the inputs ``first``, ``first + 1``, …; inputs beyond either end take that end's. C.11.1.1.1.

    pydicom 3.0.2 has tables too, but wraps indices of 8-bit tables at 256 and refuses modality tables
    of 10 to 15 bits.
    """

    first: int
    entries: Values
    full_scale: float

    def apply(self, values: Values) -> Values:
        """Look every value up; a value between two whole numbers counts as the nearer one."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.intp)])


def lookup_table(item: Dataset, signed: bool, little_endian: bool) -> LookupTable:
    """The table of a Modality or VOI LUT Sequence item.

    Args:
        item: with LUT Descriptor and LUT Data.
        signed: its inputs may be negative, so the descriptor's second value is (C.11.1.1.1: US or SS).
        little_endian: byte order of LUT Data where it is stored as bytes (OW).

    Raises:
        ValueError: descriptor or data are missing, or fewer entries are there than announced.
    """
    descriptor = item.get("LUTDescriptor")
    if not isinstance(descriptor, Sequence) or len(descriptor) != 3:
        raise ValueError("the descriptor of a lookup table does not have three values")
    number, first, bits = (int(value) for value in descriptor)
    number = number % ENTRIES or ENTRIES
    first = as_stored(first, signed)
    if not 1 <= bits <= 16:
        raise ValueError(f"a lookup table of {bits} bits an entry")
    entries = _entries(item, number, bits, little_endian)
    # Some tables hold larger values than their descriptor says: then the bits that hold them are meant.
    bits = max(bits, int(entries.max()).bit_length())
    return LookupTable(first, entries.astype(np.float64), 2.0**bits - 1.0)


def _entries(item: Dataset, number: int, bits: int, little_endian: bool) -> npt.NDArray[np.integer]:
    """LUT Data as numbers: words, or bytes two in a word, the first one in the lower half (PS3.5 8.1.1)."""
    data = item.get("LUTData")
    if data is None:
        raise ValueError("a lookup table has no data")
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little_endian else ">u2").astype("<u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype("<u2")
    if len(words) >= number:
        return words[:number]
    packed = words.view(np.uint8)
    if bits == 8 and len(packed) >= number:
        return packed[:number]
    raise ValueError(f"a lookup table announces {number} entries and holds {len(words)}")


def window(values: Values, centre: float, width: float, function: str) -> Values:
    """A VOI window as shares 0..1 of the display's range.

    LINEAR: C.11.2.1.2.1; SIGMOID: C.11.2.1.3.1; LINEAR_EXACT: C.11.2.1.3.2.

    Raises:
        ValueError: a function that the standard does not have, or a width that it forbids.
    """
    if not (np.isfinite(centre) and np.isfinite(width)) or width < (1 if function == "LINEAR" else 1e-9):
        raise ValueError(f"its window or rescale values make no picture (window width {width:g})")
    if function == "LINEAR":
        if width == 1:
            return (values > centre - 0.5).astype(np.float64)
        return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0))))
    raise ValueError(f"its VOI LUT Function '{function}' is unknown")


def as_stored(value: int, signed: bool) -> int:
    """A 16-bit header value in the sense of the pixels: writers mix up US and SS."""
    if signed:
        return value - ENTRIES if value >= ENTRIES // 2 else value
    return value + ENTRIES if value < 0 else value
