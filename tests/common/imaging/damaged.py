"""Real and written DICOM files, damaged by chance, each seed the same way; and what becomes of a file."""

import io
import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
from pydicom import uid

from common.configuration import ImagingConfig
from common.errors import XaiFederationError
from common.imaging.preprocessing import prepare_image
from tests.common.imaging import compressed
from tests.common.imaging.mammograms import drawn_breast

OTHERS = sorted(path for path in (Path(pydicom.data.__file__).parent / "test_files").rglob("*") if path.is_file())
WRITERS = (
    compressed.write_plain,
    partial(compressed.write_plain, syntax=uid.DeflatedExplicitVRLittleEndian),
    compressed.write_rle,
    compressed.write_jpeg_lossless,
    compressed.write_jpeg_ls,
    compressed.write_jpeg2000,
    compressed.write_htj2k,
)
SMALL = ImagingConfig(height=64, width=48)
SEEDS = range(500)
LARGEST = 200_000
"""Bytes of a file worth damaging; larger ones hold nothing but more pixels."""
WORDS = (b"\xff\xff", b"\x00\x00", b"\xff\x7f", b"\x01\x00")
ABSURD = {
    "Rows": (0, 1, 65535),
    "Columns": (0, 1, 65535),
    "BitsStored": (0, 1, 17, 32),
    "BitsAllocated": (0, 1, 12, 32, 64),
    "SamplesPerPixel": (0, 2, 3),
    "PixelRepresentation": (1, 7),
    "NumberOfFrames": (0, 2, 65535),
    "WindowWidth": ("0", "-5", "1e300"),
    "RescaleSlope": ("0", "-1", "1e38"),
    "PixelPaddingValue": (0, 65535),
    "ImagerPixelSpacing": (["0", "1"], ["-1", "-1"], ["1e-9", "1"]),
    "PhotometricInterpretation": ("RGB", "XXX", "PALETTE COLOR", "MONOCHROME1"),
}


def outcome(path):
    """``None`` for a picture, or the error's name; anything else is a failure of the test."""
    try:
        assert np.isfinite(prepare_image(path, "L", SMALL).pixels).all()
    except XaiFederationError as error:
        assert str(path) in str(error)
        assert len(error.what) < 300
        return type(error).__name__
    return None


def originals():
    """Files worth damaging: mammograms in every compression, and whatever pydicom tests itself with."""
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        written = []
        for write in WRITERS:
            write(path, stored, 12, False)
            written.append(path.read_bytes())
    others = [data for path in OTHERS if len(data := path.read_bytes()) < LARGEST and data[128:132] == b"DICM"]
    return written * 5 + others  # ours more often: they are mammograms


def damaged(original, dice):
    data = bytearray(original)
    kind = dice.choice(["bytes", "cut", "words", "gap", "tag"])
    if kind == "bytes":
        for _ in range(dice.choice([1, 10, 100])):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif kind == "cut":
        del data[dice.randrange(len(data)) :]
    elif kind == "words":
        for _ in range(dice.choice([1, 5])):
            at = dice.randrange(132, min(len(data) - 2, 3000))
            data[at : at + 2] = dice.choice(WORDS)
    elif kind == "gap":
        at = dice.randrange(132, min(len(data), 4000))
        del data[at : at + dice.choice([1, 2, 8, 64])]
    else:
        header = pydicom.dcmread(io.BytesIO(original), force=True)
        name = dice.choice(list(ABSURD))
        if name in header and dice.random() < 0.3:
            del header[name]
        else:
            setattr(header, name, dice.choice(ABSURD[name]))
        stream = io.BytesIO()
        header.save_as(stream)
        data = bytearray(stream.getvalue())
    return bytes(data)


def damaged_files(folder):
    """Write all of them."""
    sources, paths = originals(), []
    for seed in SEEDS:
        dice = random.Random(seed)
        try:
            data = damaged(dice.choice(sources), dice)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError):
            continue  # pydicom will not write such a tag
        paths.append(folder / f"{seed}.dcm")
        paths[-1].write_bytes(data)
    return paths
