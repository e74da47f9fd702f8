"""Compressed DICOM files give the picture that was put into them."""

import gdcm
import numpy as np
import openjpeg
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from common.errors import UnreadableImageError
from common.imaging.reading import read_image
from tests.common.imaging.mammograms import dicom, drawn_breast, write_dicom

JPEG_LOSSLESS = {
    "process 14": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "first order": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}


@pytest.fixture
def stored():
    return np.round(drawn_breast() * 4095).astype(np.uint16)


def assert_reads_as(path, stored):
    np.testing.assert_allclose(read_image(path).pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_pixels_in_every_encoding_of_the_header(tmp_path, stored, syntax):
    header = dicom(stored)
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert_reads_as(tmp_path / "a.dcm", stored)


def test_jpeg2000_lossless(tmp_path, stored):
    header = dicom(stored)
    header.PixelData = encapsulate([openjpeg.encode(stored, bits_stored=12)])
    header["PixelData"].VR = "OB"
    header.file_meta.TransferSyntaxUID = JPEG2000Lossless
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert_reads_as(tmp_path / "a.dcm", stored)


def write_jpeg_lossless(path, stored, folder, process="first order"):
    """A mammogram compressed by GDCM."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(write_dicom(folder / "uncompressed.dcm", stored)))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(JPEG_LOSSLESS[process]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("process", JPEG_LOSSLESS)
def test_jpeg_lossless(tmp_path, stored, process):
    write_jpeg_lossless(tmp_path / "a.dcm", stored, tmp_path, process)
    assert_reads_as(tmp_path / "a.dcm", stored)


def test_colour_dicom_becomes_grey_of_unknown_polarity(tmp_path):
    grey = np.round(drawn_breast() * 255).astype(np.uint8)
    header = dicom(grey, bits=8, photometric="RGB")
    header.SamplesPerPixel, header.PlanarConfiguration = 3, 0
    header.BitsAllocated = 8
    header.PixelData = np.stack([grey] * 3, axis=-1).tobytes()
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "a.dcm")
    np.testing.assert_allclose(image.pixels, grey / 255, atol=1e-6)
    assert not image.polarity_known


def test_eight_bits_in_one_byte(tmp_path):
    grey = np.round(drawn_breast() * 255).astype(np.uint8)
    header = dicom(grey, bits=8)
    header.BitsAllocated = 8
    header.PixelData = grey.tobytes()
    header["PixelData"].VR = "OB"
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, grey / 255, atol=1e-6)


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "1"])
def test_every_kind_of_png_becomes_grey(tmp_path, mode):
    picture = Image.fromarray(np.where(drawn_breast() > 0.2, 255, 0).astype(np.uint8))
    picture.convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, drawn_breast() > 0.2)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.dcm", "a"])
def test_empty_files_and_folders_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=name):
        read_image(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=tmp_path.name):
        read_image(tmp_path)
