"""Stored values become grey values 0..1, the same ones whatever way a file encodes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage

from common.errors import UnreadableImageError
from common.imaging.reading import read_image
from tests.common.imaging.mammograms import dicom, drawn_breast, write_dicom, write_png

REAL = Path("../shared/data/dicom")


@pytest.fixture
def stored():
    return np.round(drawn_breast() * 4095).astype(np.uint16)


def test_presentation_image_is_divided_by_full_scale_not_by_its_own_maximum(tmp_path, stored):
    assert stored.max() < 3500
    image = read_image(write_dicom(tmp_path / "a.dcm", stored))
    np.testing.assert_allclose(image.pixels, stored / 4095, atol=1e-6)
    assert image.polarity_known and image.pixels.dtype == np.float32


def test_monochrome1_is_inverted_by_bit_depth(tmp_path, stored):
    stored = np.clip(stored, 300, 3500)  # the image's own maximum is not that of its bit depth
    image = read_image(write_dicom(tmp_path / "a.dcm", 4095 - stored, photometric="MONOCHROME1"))
    np.testing.assert_allclose(image.pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 10, 14, 16])
def test_every_bit_depth_has_its_own_full_scale(tmp_path, bits):
    values = np.round(drawn_breast() * (2**bits - 1)).astype(np.uint16)
    image = read_image(write_dicom(tmp_path / "a.dcm", values, bits=bits))
    np.testing.assert_allclose(image.pixels, values / (2**bits - 1), atol=1e-6)


def test_window_follows_the_standard(tmp_path, stored):
    centre, width = 1500.0, 1000.0
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, WindowCenter=centre, WindowWidth=width))
    expected = np.clip((stored - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_allclose(image.pixels, expected, atol=1e-4)


def test_sigmoid_window_follows_the_standard(tmp_path, stored):
    attributes = {"WindowCenter": 1500.0, "WindowWidth": 800.0, "VOILUTFunction": "SIGMOID"}
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, **attributes))
    np.testing.assert_allclose(image.pixels, 1 / (1 + np.exp(-4 * (stored - 1500.0) / 800.0)), atol=1e-4)


def test_voi_lookup_table_is_applied(tmp_path, stored):
    table = np.round(np.sqrt(np.arange(4096) / 4095) * 1023).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 10], table.tobytes()
    header = dicom(stored)
    header.VOILUTSequence = [item]
    header["VOILUTSequence"].value[0]["LUTDescriptor"].VR = "US"
    header["VOILUTSequence"].value[0]["LUTData"].VR = "OW"
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, table[stored] / 1023, atol=1e-6)


def test_rescaled_and_signed_values_keep_their_place_in_full_scale(tmp_path, stored):
    signed = stored.astype(np.int16) - 2048
    image = read_image(write_dicom(tmp_path / "a.dcm", signed, RescaleSlope=2.0, RescaleIntercept=100.0))
    np.testing.assert_allclose(image.pixels, stored / 4095, atol=1e-6)


def test_processing_image_becomes_dense_bright_through_a_fixed_logarithm(tmp_path, stored):
    exposure = np.round(4095 * np.exp(-4 * drawn_breast())).astype(np.uint16)
    image = read_image(
        write_dicom(
            tmp_path / "a.dcm", exposure, photometric="MONOCHROME1", intent="FOR PROCESSING",
            PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1,
        )
    )  # fmt: skip
    np.testing.assert_allclose(image.pixels, 4 * drawn_breast() / np.log(4095), atol=5e-3)
    assert image.polarity_known


@pytest.mark.parametrize("rising", [True, False])
def test_processing_image_without_sign_is_set_right_by_its_air(tmp_path, rising):
    exposure = np.round(4095 * np.exp(-4 * drawn_breast())).astype(np.uint16)
    stored = exposure if rising else 4095 - exposure
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, intent="FOR PROCESSING"))
    assert image.pixels[120, 40] > image.pixels[5, 170] + 0.2


def test_declared_padding_becomes_air(tmp_path, stored):
    stored[:, -20:] = 4000
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=4000))
    assert (image.pixels[:, -20:] == 0).all() and image.pixels[120, 40] > 0.3


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_compressed_pixels_are_the_same_bits(tmp_path, stored, syntax):
    header = dicom(stored)
    header.compress(syntax)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, stored / 4095, atol=1e-6)


def test_secondary_captures_polarity_is_not_trusted(tmp_path, stored):
    path = write_dicom(tmp_path / "a.dcm", stored, Modality="RG", SOPClassUID=SecondaryCaptureImageStorage)
    assert not read_image(path).polarity_known


def test_spacing_in_the_breast_is_that_at_the_detector_divided_by_the_magnification(tmp_path, stored):
    attributes = {"ImagerPixelSpacing": [0.1, 0.12], "EstimatedRadiographicMagnificationFactor": 1.5}
    spacing = read_image(write_dicom(tmp_path / "a.dcm", stored, **attributes)).spacing_mm
    assert spacing == pytest.approx((0.1 / 1.5, 0.12 / 1.5))


@pytest.mark.parametrize("bits", [8, 16])
def test_png_of_either_depth(tmp_path, bits):
    pixels = drawn_breast()
    pixels[0, 0] = 1.0
    image = read_image(write_png(tmp_path / "a.png", pixels, bits))
    np.testing.assert_allclose(image.pixels, pixels, atol=0.6 / (2**bits - 1))
    assert not image.polarity_known


def test_twelve_bits_in_a_sixteen_bit_png_are_seen(tmp_path, stored):
    stored[0, 0] = 4095
    Image.fromarray(stored).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_float_tiff_as_shares_or_grey_levels(tmp_path, scale):
    pixels = drawn_breast() / drawn_breast().max()
    Image.fromarray(pixels * np.float32(scale)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels, pixels, atol=1e-6)


def test_colour_jpeg_becomes_grey(tmp_path):
    grey = np.round(drawn_breast() * 255).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels - grey / 255).mean() < 0.01


def test_a_real_secondary_capture_in_jpeg2000_reads():
    path = REAL / "WG04_MG1_J2KI.dcm"
    if not path.exists():
        pytest.skip("the shared real data are not here")
    image = read_image(path)
    assert image.pixels.shape == (4664, 3064) and not image.polarity_known
    assert 0.0 <= image.pixels.min() < 0.1 < 0.5 < image.pixels.max() <= 1.0


def spoil(kind, tmp_path, stored):
    if kind == "missing":
        return tmp_path / "nowhere.dcm"
    if kind == "no picture":
        (tmp_path / "a.png").write_text("patient list")
        return tmp_path / "a.png"
    if kind == "cut off picture":
        path = write_png(tmp_path / "a.png", drawn_breast())
        path.write_bytes(path.read_bytes()[:3000])
        return path
    if kind == "not a number":
        Image.fromarray(np.where(stored > 2000, np.nan, stored).astype(np.float32)).save(tmp_path / "a.tif")
        return tmp_path / "a.tif"
    path = write_dicom(tmp_path / "a.dcm", stored)
    if kind == "cut off DICOM":
        path.write_bytes(path.read_bytes()[:5000])
    if kind == "no pixels":
        header = dicom(stored)
        del header.PixelData
        header.save_as(path, enforce_file_format=True)
    if kind == "many frames":
        write_dicom(path, stored, NumberOfFrames=2, Rows=stored.shape[0] // 2)
    return path


@pytest.mark.parametrize(
    "kind",
    ["missing", "no picture", "cut off picture", "not a number", "cut off DICOM", "no pixels", "many frames"],
)
def test_unusable_files_are_refused_by_name(tmp_path, stored, kind):
    path = spoil(kind, tmp_path, stored)
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and caught.value.do


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_grey_values_or_the_named_error(tmp_path, stored):
    generator = np.random.default_rng(0)
    whole = write_dicom(tmp_path / "a.dcm", stored).read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for place in generator.integers(0, 1500, 5):
            data[place] = generator.integers(256)
        (tmp_path / "b.dcm").write_bytes(data)
        try:
            pixels = read_image(tmp_path / "b.dcm").pixels
        except UnreadableImageError:
            continue
        assert np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1


def test_an_image_for_which_memory_runs_out_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "whole.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path)

    def runs_out(_):
        raise MemoryError

    monkeypatch.setattr("common.imaging.reading._read_picture", runs_out)
    with pytest.raises(UnreadableImageError, match="not enough memory"):
        read_image(path)
