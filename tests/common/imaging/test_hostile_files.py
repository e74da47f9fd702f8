"""Damaged and foreign files: every one becomes a picture or an error by name; nothing crashes or hangs."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from common.errors import UnreadableImageError
from common.imaging.reading import read_image
from tests.common.imaging.damaged import OTHERS, damaged_files, outcome
from tests.common.imaging.mammograms import dicom, drawn_breast
from tests.common.imaging.test_compression import write_jpeg_lossless

REAL = Path("../shared/data/dicom")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_every_test_file_of_pydicom_is_read_or_refused_by_name(path):
    outcome(path)


def test_real_files_are_read():
    if not REAL.exists():
        pytest.skip("the shared real data are not here")
    for path in sorted(REAL.glob("*.dcm")):
        assert outcome(path) is None


@pytest.mark.filterwarnings("ignore")
def test_five_hundred_damaged_files_are_read_or_refused_by_name(tmp_path):
    outcomes = Counter(outcome(path) for path in damaged_files(tmp_path))
    assert outcomes.total() > 450
    assert outcomes[None] > 50
    assert outcomes["UnreadableImageError"] > 50


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
