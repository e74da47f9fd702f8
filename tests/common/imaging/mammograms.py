"""Drawn breasts, and DICOM files written with pydicom, for the tests of images and data."""

from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid


def drawn_breast(rows=240, columns=180, reach=100, half_height=90, seed=0):
    """A breast at the left edge, centre row rows / 2: values 0..1, air near 0.02, fat 0.35, gland to 0.7."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    y -= rows / 2
    inside = (x / reach) ** 2 + (y / half_height) ** 2 < 1
    gland = np.exp(-(((x - 0.4 * reach) / (0.3 * reach)) ** 2) - (y / (0.4 * half_height)) ** 2)
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    return np.clip(np.where(inside, 0.35 + 0.35 * gland, 0.02) + noise, 0, 1).astype(np.float32)


def write_png(path: Path, pixels, bits=16) -> Path:
    """Grey PNG of 8 or 16 bits from values 0..1."""
    dtype = np.uint8 if bits == 8 else np.uint16
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(pixels * (2**bits - 1)).astype(dtype)).save(path)
    return path


def dicom(stored, bits=12, photometric="MONOCHROME2", intent="FOR PRESENTATION", **attributes) -> Dataset:
    """A mammography object holding ``stored`` as it is."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    header.Modality = "MG"
    header.PresentationIntentType = intent
    header.PhotometricInterpretation = photometric
    header.SamplesPerPixel = 1
    header.Rows, header.Columns = stored.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, bits, bits - 1
    header.PixelRepresentation = int(np.asarray(stored).min() < 0)
    header.PixelData = np.asarray(stored).astype("<i2" if header.PixelRepresentation else "<u2").tobytes()
    for name, value in attributes.items():
        setattr(header, name, value)
    return header


def write_dicom(path: Path, stored, **settings) -> Path:
    """:func:`dicom` on disk."""
    dicom(stored, **settings).save_as(path, enforce_file_format=True)
    return path
