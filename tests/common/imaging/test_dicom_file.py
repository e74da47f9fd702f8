"""What a file announces is looked at before memory is taken for it."""

import os
import subprocess
import sys
import warnings

import imagecodecs
import numpy as np
import openjpeg
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import get_frame

from common.errors import UnreadableImageError
from common.imaging.codestream import announced_shape
from common.imaging.dicom_file import LARGEST_FILE, is_dicom, read_header, read_whole
from common.imaging.reading import read_image
from tests.common.imaging import compressed, worst_cases
from tests.common.imaging.mammograms import dicom, write_dicom

STORED = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
COLOUR = np.zeros((40, 56, 3), np.uint8)


def frame_of(path):
    header = pydicom.dcmread(path)
    return get_frame(header.PixelData, 0, number_of_frames=1), header.file_meta.TransferSyntaxUID


@pytest.mark.parametrize(
    "write",
    [compressed.write_jpeg_lossless, compressed.write_jpeg_ls, compressed.write_jpeg2000, compressed.write_htj2k],
)
def test_every_compression_announces_its_size(tmp_path, write):
    write(tmp_path / "a.dcm", STORED, 12, False)
    assert announced_shape(*frame_of(tmp_path / "a.dcm")) == (64, 48, 1)


@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (imagecodecs.jpeg_encode(COLOUR), uid.JPEGBaseline8Bit),
        (openjpeg.encode(COLOUR), uid.JPEG2000Lossless),
        (openjpeg.encode(COLOUR, codec_format=1), uid.JPEG2000),  # in the boxes of a JP2 file
        (imagecodecs.jpegls_encode(COLOUR), uid.JPEGLSLossless),
    ],
)
def test_colours_are_counted(frame, syntax):
    assert announced_shape(bytes(frame), syntax) == (40, 56, 3)


def test_fill_bytes_before_a_marker_are_skipped():
    frame = imagecodecs.jpeg_encode(COLOUR)
    assert announced_shape(frame[:2] + b"\xff\xff" + frame[2:], uid.JPEGBaseline8Bit) == (40, 56, 3)


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000, uid.JPEGLSLossless, uid.HTJ2K])
@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", bytes(200), b"\xff\xd8\xff\xe0\x00\x00" * 40, b"\xff\x4f\xff\x51"])
def test_what_is_no_codestream_is_refused(frame, syntax):
    with pytest.raises(ValueError, match="do not tell their size"):
        announced_shape(frame, syntax)


@pytest.mark.parametrize("write", [worst_cases.large_jpeg, worst_cases.large_jpeg2000])
def test_a_frame_of_another_size_is_refused_with_both(tmp_path, write):
    write(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="64 x 48 pixels of 1 are announced, 60000 x 60000 of 1"):
        read_image(tmp_path / "a.dcm")


def test_deflated_data_are_counted_before_they_are_inflated(tmp_path):
    worst_cases.deflate_bomb(tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").stat().st_size < 1 << 20
    for read in (read_whole, lambda path: read_header(path, ["Rows"])):
        with pytest.raises(ValueError, match="deflated data of more than 256 MB"):
            read(tmp_path / "a.dcm")
    compressed.write_plain(tmp_path / "b.dcm", STORED, 12, False, uid.DeflatedExplicitVRLittleEndian)
    assert read_header(tmp_path / "b.dcm", ["Rows"]).Rows == 64
    assert (read_whole(tmp_path / "b.dcm").pixel_array == STORED).all()


@pytest.mark.parametrize(("frames", "words"), [(60, "60 frames"), (1, "larger than any mammogram")])
def test_a_huge_file_is_not_read(tmp_path, frames, words):
    path = write_dicom(tmp_path / "a.dcm", STORED, NumberOfFrames=frames)
    os.truncate(path, LARGEST_FILE + 1)
    with pytest.raises(UnreadableImageError, match=words):
        read_image(path)


def test_a_picture_of_too_many_pixels_is_not_read(tmp_path):
    worst_cases.large_png(tmp_path / "a.png")
    with warnings.catch_warnings(), pytest.raises(UnreadableImageError, match="13000 x 13000 pixels are more"):
        warnings.simplefilter("ignore")
        read_image(tmp_path / "a.png")


def test_only_what_is_asked_for_is_read(tmp_path):
    path = write_dicom(tmp_path / "a", STORED, PatientID="P1")
    header = read_header(path, ["PatientID", "Rows"])
    assert {element.keyword for element in header} <= {"PatientID", "Rows", "SpecificCharacterSet"}
    assert (header.PatientID, header.Rows) == ("P1", 64)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a", bytes(128) + b"DICM", True),
        ("a.dcm", b"", True),
        ("a.DICOM", b"x", True),
        ("a.png", b"\x89PNG", False),
        ("a", b"", False),
    ],
)
def test_dicom_is_told_by_its_first_bytes_or_its_name(tmp_path, name, data, expected):
    (tmp_path / name).write_bytes(data)
    assert is_dicom(tmp_path / name) == expected


def test_odd_headers_do_not_talk_to_the_terminal(tmp_path):
    """In a process of its own, as pytest has warnings of its own."""
    header = dicom(STORED)
    header.PixelData += bytes(128)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.warns(UserWarning, match="excess padding"):
        pydicom.dcmread(tmp_path / "a.dcm").pixel_array  # noqa: B018
    code = "import sys, pathlib; from common.imaging.reading import read_image; read_image(pathlib.Path(sys.argv[1]))"
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.dcm")], capture_output=True, text=True)
    assert found.stderr == ""
