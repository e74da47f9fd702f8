"""Damaged and foreign files: every one becomes a picture or an error by name; nothing crashes or hangs."""

import io
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from common.configuration import ImagingConfig
from common.errors import UnreadableImageError, XaiFederationError
from common.imaging.preprocessing import prepare_image
from common.imaging.reading import read_image
from tests.common.imaging.mammograms import dicom, drawn_breast
from tests.common.imaging.test_compression import write_jpeg_lossless

REAL = Path("../shared/data/dicom")
OTHERS = sorted(path for path in (Path(pydicom.data.__file__).parent / "test_files").rglob("*") if path.is_file())
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


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_every_test_file_of_pydicom_is_read_or_refused_by_name(path):
    outcome(path)


def test_real_files_are_read():
    if not REAL.exists():
        pytest.skip("the shared real data are not here")
    for path in sorted(REAL.glob("*.dcm")):
        assert outcome(path) is None


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Files worth damaging: mammograms in several compressions, and whatever pydicom tests itself with."""
    folder = tmp_path_factory.mktemp("originals")
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    plain = dicom(stored)
    plain.save_as(folder / "plain.dcm", enforce_file_format=True)
    write_jpeg_lossless(folder / "lossless.dcm", stored, folder)
    files = [*sorted(folder.glob("*.dcm")), *OTHERS]
    return [data for path in files if len(data := path.read_bytes()) < LARGEST and data[128:132] == b"DICM"]


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


@pytest.mark.filterwarnings("ignore")
def test_five_hundred_damaged_files_are_read_or_refused_by_name(originals, tmp_path):
    outcomes = set()
    for seed in SEEDS:
        dice = random.Random(seed)
        original = dice.choice(originals)
        path = tmp_path / f"{seed}.dcm"
        try:
            path.write_bytes(damaged(original, dice))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError):
            continue  # pydicom will not write such a tag
        outcomes.add(outcome(path))
    assert {None, "UnreadableImageError"} <= outcomes


def test_a_box_of_no_length_in_jpeg_2000_does_not_hang(tmp_path):
    header = dicom(np.zeros((8, 8), np.uint16))
    header.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    header.PixelData = encapsulate([b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(32)])
    header["PixelData"].VR = "OB"
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="a box of no length"):
        read_image(tmp_path / "a.dcm")


def test_a_decoder_that_breaks_down_takes_only_its_own_process_along(tmp_path):
    """GDCM calls abort() on a JPEG whose header announces other bits than its stream holds."""
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    write_jpeg_lossless(tmp_path / "good.dcm", stored, tmp_path)
    header = pydicom.dcmread(tmp_path / "good.dcm")
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 7, 6
    header.save_as(tmp_path / "bad.dcm")
    with pytest.raises(UnreadableImageError, match="broke down"):
        read_image(tmp_path / "bad.dcm")
    assert read_image(tmp_path / "good.dcm").pixels.shape == stored.shape


def test_a_worker_process_that_used_the_decoder_ends(tmp_path):
    """As when a site's images are prepared: the worker must not wait for the process that it started itself."""
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    write_jpeg_lossless(tmp_path / "a.dcm", stored, tmp_path)
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        assert pool.submit(read_image, tmp_path / "a.dcm").result().pixels.shape == stored.shape


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": 40000, "Columns": 40000}, "more than any mammogram"),
        ({"BitsAllocated": 32}, "32 bits a pixel"),
        ({"NumberOfFrames": 60}, "60 frames"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "window or rescale"),
    ],
)
def test_absurd_values_are_refused_before_memory_is_taken(tmp_path, tags, words):
    header = dicom(np.zeros((8, 8), np.uint16), **tags)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match=words):
        read_image(tmp_path / "a.dcm")
