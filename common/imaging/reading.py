"""Reads DICOM, PNG, JPEG and TIFF into grey values 0..1, dense tissue bright wherever the file says so."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from common.errors import UnreadableImageError
from common.imaging.decoding import MOST_PIXELS, decode
from common.imaging.dicom_file import is_dicom, read_whole
from common.imaging.facts import FileFacts, dicom_facts
from common.imaging.grey_values import grey_values

Pixels = npt.NDArray[np.float32]
BIT_DEPTHS = (8, 10, 12, 14, 16)
DECODING_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
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

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is lower


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
        if is_dicom(path):
            return _read_dicom(path)
        return _read_picture(path)
    except (OSError, UnidentifiedImageError, InvalidDicomError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, reason) from error
    except MemoryError as error:  # the file may be sound: it must not be called damaged
        raise _unreadable(path, "there is not enough memory to decode it") from error
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
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"{picture.height} x {picture.width} pixels are more than any mammogram has")
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
    header = read_whole(path)
    stored = decode(header)
    pixels, polarity_known = grey_values(header, stored)
    spacing = _spacing(header)
    return StoredImage(pixels, polarity_known, spacing, dicom_facts(header, spacing))


def _spacing(header: FileDataset) -> tuple[float, float] | None:
    """Spacing in the breast, mm (row, column): at the detector divided by the magnification."""
    at_detector = header.get("ImagerPixelSpacing")
    values = at_detector or header.get("PixelSpacing") or header.get("NominalScannedPixelSpacing")
    if not values or len(values) != 2:
        return None
    magnification = float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0) if at_detector else 1.0
    row, column = float(values[0]) / magnification, float(values[1]) / magnification
    return (row, column) if row > 0 and column > 0 else None
