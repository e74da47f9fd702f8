"""What a file says of itself and what its pixels show: kept at the site beside the prepared image, never sent."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from common.imaging.eligibility import exclusion
from common.imaging.header import laterality_of, view_of


@dataclass(frozen=True)
class FileFacts:
    """What the file says. Empty where it says nothing."""

    format: str
    """``DICOM``, ``PNG``, ``JPEG``, …"""
    bits: int
    modality: str = ""
    intent: str = ""
    """``FOR PRESENTATION`` or ``FOR PROCESSING``."""
    photometric: str = ""
    vendor: str = ""
    model: str = ""
    laterality: str = ""
    view: str = ""
    compression: str = ""
    spacing_mm: tuple[float, float] | None = None
    """(row, column)."""
    exclusion: str = ""
    """Why an import would leave it out (:mod:`common.imaging.eligibility`)."""
    burnt_in: bool = False
    """The header says that the pixels hold annotations (names, dates)."""
    person: str = ""
    """Digest of the header's name, identifier and birth date, so that two patients can be compared."""


@dataclass(frozen=True)
class PixelFacts:
    """What the pixels show."""

    digest: str
    """Of the grey values to 16 bits: equal for the same picture in two files, whatever their lossless compression."""
    seems_inverted: bool
    """Air is bright in the picture that the header describes."""
    polarity_known: bool
    """The header's word on polarity is taken, whatever it looks like."""
    breast_share: float
    """Of the picture's area."""


@dataclass(frozen=True)
class ImageFacts:
    """Everything known of an image beside its prepared pixels."""

    said: FileFacts
    shown: PixelFacts


def dicom_facts(header: Dataset, spacing_mm: tuple[float, float] | None) -> FileFacts:
    """Read from a DICOM header what preflight compares; text of any kind is taken as it is."""
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    return FileFacts(
        format="DICOM",
        bits=int(header.BitsStored),
        modality=_text(header, "Modality"),
        intent=_text(header, "PresentationIntentType").upper(),
        photometric=_text(header, "PhotometricInterpretation"),
        vendor=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
        laterality=laterality_of(header) or "",
        view=view_of(header) or "",
        compression="" if syntax is None else syntax.name,
        spacing_mm=spacing_mm,
        exclusion=exclusion(header) or "",
        burnt_in=_text(header, "BurnedInAnnotation").upper() == "YES",
        person=_person(header),
    )


def pixel_facts(
    pixels: npt.NDArray[np.float32], seems_inverted: bool, polarity_known: bool, breast: npt.NDArray[np.bool_]
) -> PixelFacts:
    """Facts of a stored picture.

    Args:
        pixels: ``(rows, columns)``, 0..1.
        seems_inverted: what ``is_inverted`` says of them.
        polarity_known: from the reader.
        breast: mask of any size.
    """
    values = np.round(pixels * 65535.0).astype("<u2")
    digest = hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
    return PixelFacts(digest, seems_inverted, polarity_known, float(breast.mean()))


def _text(header: Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else str(value).strip()


def _person(header: Dataset) -> str:
    """Empty where the header names nobody; case, accents and padding make no difference."""
    parts = [_text(header, name) for name in ("PatientID", "PatientName", "PatientBirthDate")]
    if not parts[0] and not parts[1]:
        return ""
    plain = unicodedata.normalize("NFKD", "|".join(parts)).upper().replace("^", " ")
    return hashlib.sha256(" ".join(plain.split()).encode()).hexdigest()[:16]
