"""Reads DICOM, PNG, JPEG and TIFF into grey values 0..1, dense tissue bright wherever the file says so."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from common.errors import UnreadableImageError
from common.imaging.decoding import decode
from common.imaging.facts import FileFacts, dicom_facts
from common.imaging.polarity import is_inverted

Pixels = npt.NDArray[np.float32]
BIT_DEPTHS = (8, 10, 12, 14, 16)
DECODING_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    BytesLengthException,
    Image.DecompressionBombError,
)
"""What pydicom, Pillow and their decoders raise for damaged or unsupported pixel data."""
GREY_ATTRIBUTES = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction")

logging.getLogger("pydicom").setLevel(logging.ERROR)


@dataclass(frozen=True)
class StoredImage:
    """An image as stored.

    ``pixels``: float32 ``(rows, columns)``, 0..1 of full scale. ``polarity_known``: dense tissue is
    bright for sure. ``spacing_mm``: (row, column), where the header has it.
    """

    pixels: Pixels
    polarity_known: bool
    spacing_mm: tuple[float, float] | None
    facts: FileFacts


def read_image(path: Path) -> StoredImage:
    """Read one image file.

    Raises:
        UnreadableImageError: missing, damaged, of no known kind, or a multi-frame object.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
        if head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
            return _read_dicom(path)
        return _read_picture(path)
    except (OSError, UnidentifiedImageError, InvalidDicomError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, reason) from error
    except DECODING_ERRORS as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> UnreadableImageError:
    first = reason.strip().splitlines()[0] if reason.strip() else "damaged"
    return UnreadableImageError(
        f"cannot read the image: {first[:200]}",
        where=str(path),
        do="restore the file, remove its row, or set data.unreadable=skip",
    )


def _read_picture(path: Path) -> StoredImage:
    with Image.open(path) as picture:
        picture.load()
        kind = str(picture.format)
        if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            values = np.asarray(picture, dtype=np.float32)
        else:
            values = np.asarray(picture.convert("L"), dtype=np.float32)
            return StoredImage(values / 255.0, False, None, FileFacts(kind, 8))
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not numbers")
    scale = _full_scale(float(values.max()))
    facts = FileFacts(kind, round(math.log2(scale + 1.0)))
    return StoredImage(np.clip(values / scale, 0.0, 1.0), False, None, facts)


def _full_scale(maximum: float) -> float:
    """Largest value of the smallest usual bit depth that holds ``maximum`` (12 bits often lie in 16); 1 for shares."""
    if maximum <= 1.0:
        return 1.0
    return next((2.0**bits - 1.0 for bits in BIT_DEPTHS if maximum < 2.0**bits), max(maximum, 1.0))


def _read_dicom(path: Path) -> StoredImage:
    header = pydicom.dcmread(path, force=True)
    for name in GREY_ATTRIBUTES:  # anonymisers leave them there, but empty: the same as not there
        if name in header and header.get(name) in (None, ""):
            del header[name]
    stored = decode(header)
    spacing = _spacing(header)
    if stored.ndim == 3:
        grey = stored.astype(np.float32).mean(axis=2) / (2.0 ** int(header.BitsStored) - 1.0)
        return StoredImage(np.clip(grey, 0.0, 1.0), False, spacing, dicom_facts(header, spacing))
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING":
        pixels, trusted = _attenuation(header, stored), True
    else:
        pixels, trusted = _presented(header, stored)
    if header.get("PixelPaddingValue") is not None:
        pixels[_padding(header, stored)] = 0.0
    return StoredImage(pixels, trusted, spacing, dicom_facts(header, spacing))


def _presented(header: FileDataset, stored: npt.NDArray[np.integer]) -> tuple[Pixels, bool]:
    """Values for a display, 0..1, and whether the header's word on polarity can be trusted.

    Modality and VOI transformations are worked out once for each stored value, not for each pixel.
    """
    first, last = min(0, int(stored.min())), int(stored.max())
    values = apply_modality_lut(np.arange(first, last + 1).astype(stored.dtype), header)
    low, high = _range(header)
    if header.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1.0
    elif "WindowWidth" not in header:
        low, high = min(low, high), max(low, high)
    values = apply_voi_lut(values, header)  # leaves them as they are where the header has no VOI
    curve = np.clip((np.asarray(values, dtype=np.float32) - low) / (high - low), 0.0, 1.0)
    if not np.isfinite(curve).all():
        raise ValueError("its window or rescale values make no picture")
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric == "MONOCHROME1":
        curve = 1.0 - curve
    pixels = curve.astype(np.float32)[stored if first == 0 else stored.astype(np.int32) - first]
    # Secondary captures often carry a photometric interpretation that nobody checked.
    return pixels, photometric in ("MONOCHROME1", "MONOCHROME2") and str(header.get("Modality", "")) == "MG"


def _range(header: FileDataset) -> tuple[float, float]:
    """Where the ends of the stored values lie after the modality transformation.

    The first is the larger with a negative slope; what pydicom's window sends to its dark end is the first.
    """
    if header.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(header.ModalityLUTSequence[0].LUTDescriptor[2]) - 1.0
    bits = int(header.BitsStored)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if header.PixelRepresentation else (0.0, 2.0**bits - 1)
    if "RescaleSlope" not in header or "RescaleIntercept" not in header:  # pydicom rescales with both only
        return low, high
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    return low * slope + intercept, high * slope + intercept


def _padding(header: FileDataset, stored: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Pixels that the header declares to be no part of the picture."""
    ends = sorted((int(header.PixelPaddingValue), int(header.get("PixelPaddingRangeLimit", header.PixelPaddingValue))))
    return (stored >= ends[0]) & (stored <= ends[1])


def _attenuation(header: FileDataset, stored: npt.NDArray[np.integer]) -> Pixels:
    """For-Processing values as attenuation 0..1: a fixed logarithm, so that dense tissue is bright.

    PixelIntensityRelationship LOG needs none. Its sign (+1: larger value, more X-rays) says which way
    the values run; where it is missing, the image does: air is what most X-rays reach.
    """
    full = 2.0 ** int(header.BitsStored) - 1.0
    values = np.clip(stored.astype(np.float32), 0.0, full)
    sign = header.get("PixelIntensityRelationshipSign")
    exposure = values if (is_inverted(values) if sign is None else int(sign) > 0) else full - values
    if str(header.get("PixelIntensityRelationship", "LIN")) == "LOG":
        return cast(Pixels, 1.0 - exposure / full)
    return np.asarray(-np.log(np.maximum(exposure, 1.0) / full) / np.log(full), dtype=np.float32)


def _spacing(header: FileDataset) -> tuple[float, float] | None:
    """Spacing in the breast, mm (row, column): at the detector divided by the magnification."""
    at_detector = header.get("ImagerPixelSpacing")
    values = at_detector or header.get("PixelSpacing") or header.get("NominalScannedPixelSpacing")
    if not values or len(values) != 2:
        return None
    magnification = float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0) if at_detector else 1.0
    row, column = float(values[0]) / magnification, float(values[1]) / magnification
    return (row, column) if row > 0 and column > 0 else None
