"""Stored values to grey values by the formulas of DICOM PS3.3 C.11.2.1.2, also where headers are odd."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from common.errors import UnreadableImageError
from common.imaging.polarity import is_inverted
from common.imaging.reading import read_image
from tests.common.imaging.mammograms import dicom, drawn_breast, write_dicom

CENTRE, WIDTH = 1500.0, 1000.0


@pytest.fixture
def stored():
    return np.round(drawn_breast() * 4095).astype(np.uint16)


def linear(values, centre=CENTRE, width=WIDTH):
    """C.11.2.1.2.1."""
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def grey(tmp_path, stored, **settings):
    return read_image(write_dicom(tmp_path / "a.dcm", stored, **settings)).pixels


def windowed(**more):
    return {"WindowCenter": CENTRE, "WindowWidth": WIDTH, **more}


def test_exact_linear_window_has_no_half_pixel(tmp_path, stored):
    """C.11.2.1.3.2; it differs from LINEAR by more than the tolerance."""
    expected = np.clip((stored - CENTRE) / WIDTH + 0.5, 0, 1)
    assert np.abs(expected - linear(stored)).max() > 4e-4
    np.testing.assert_allclose(grey(tmp_path, stored, **windowed(VOILUTFunction="LINEAR_EXACT")), expected, atol=1e-5)


def test_window_of_monochrome1_is_applied_before_the_inversion(tmp_path, stored):
    pixels = grey(tmp_path, stored, photometric="MONOCHROME1", **windowed())
    np.testing.assert_allclose(pixels, 1 - linear(stored), atol=1e-5)


def test_first_of_several_windows_counts(tmp_path, stored):
    pixels = grey(tmp_path, stored, WindowCenter=[CENTRE, 7.0], WindowWidth=[WIDTH, 9.0])
    np.testing.assert_allclose(pixels, linear(stored), atol=1e-5)


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, 0.0), (1.0, -1024.0), (-1.0, 4095.0), (-0.5, 10.0)])
@pytest.mark.parametrize("signed", [False, True])
def test_window_is_meant_for_rescaled_values(tmp_path, stored, slope, intercept, signed):
    raw = stored.astype(np.int16) - 2048 if signed else stored
    values = raw * slope + intercept
    centre, width = float(np.median(values)) + 100, 900.0
    pixels = grey(tmp_path, raw, RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=centre, WindowWidth=width)
    np.testing.assert_allclose(pixels, linear(values, centre, width), atol=1e-5)


def test_negative_slope_without_window_turns_the_picture(tmp_path, stored):
    pixels = grey(tmp_path, stored, RescaleSlope=-1.0, RescaleIntercept=4095.0)
    np.testing.assert_allclose(pixels, (4095.0 - stored) / 4095, atol=1e-6)


@pytest.mark.parametrize("names", [["RescaleSlope", "RescaleIntercept"], ["WindowCenter", "WindowWidth"]])
def test_emptied_attributes_count_as_not_there(tmp_path, stored, names):
    np.testing.assert_allclose(grey(tmp_path, stored, **dict.fromkeys(names)), stored / 4095, atol=1e-6)


def test_emptied_window_function_is_linear(tmp_path, stored):
    np.testing.assert_allclose(grey(tmp_path, stored, **windowed(VOILUTFunction=None)), linear(stored), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_logarithmic_processing_values_only_need_their_sign(tmp_path, stored, sign, photometric):
    raw = 4095 - stored if sign == 1 else stored
    settings = {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": sign}
    pixels = grey(tmp_path, raw, intent="FOR PROCESSING", photometric=photometric, **settings)
    np.testing.assert_allclose(pixels, stored / 4095, atol=1e-6)


def test_linear_processing_values_of_either_sign_give_one_picture(tmp_path):
    exposure = np.round(16383 * np.exp(-4 * drawn_breast())).astype(np.uint16)
    pictures = [
        grey(tmp_path, raw, bits=14, intent="FOR PROCESSING", PixelIntensityRelationshipSign=sign)
        for raw, sign in ((exposure, 1), (16383 - exposure, -1))
    ]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-6)
    np.testing.assert_allclose(pictures[0], 4 * drawn_breast() / np.log(16383), atol=2e-3)


def test_a_range_of_padding_becomes_air(tmp_path, stored):
    stored[:, -20:] = np.arange(3990, 4010)
    pixels = grey(tmp_path, stored, PixelPaddingValue=3990, PixelPaddingRangeLimit=4009)
    assert (pixels[:, -20:] == 0).all() and pixels[120, 40] > 0.3


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_without_window_every_depth_fills_its_own_scale(tmp_path, bits, signed):
    values = np.round(drawn_breast() * (2**bits - 1)).astype(np.int32)
    raw = values - 2 ** (bits - 1) if signed else values
    pixels = grey(tmp_path, raw.astype(np.int16 if signed else np.uint16), bits=bits)
    np.testing.assert_allclose(pixels, values / (2**bits - 1), atol=1e-6)


def test_signed_and_unsigned_bytes(tmp_path):
    values = np.round(drawn_breast() * 255).astype(np.int16)
    for signed in (False, True):
        header = dicom(values, bits=8, BitsAllocated=8, PixelRepresentation=int(signed))
        header.PixelData = (values - 128 * signed).astype("i1" if signed else "u1").tobytes()
        header["PixelData"].VR = "OB"
        header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, values / 255, atol=1e-6)


def sigmoid(values, centre, width):
    """C.11.2.1.3.1."""
    return 1 / (1 + np.exp(-4 * (values - centre) / width))


@pytest.mark.parametrize("signed", [False, True])
def test_sigmoid_window_of_rescaled_values(tmp_path, stored, signed):
    raw = stored.astype(np.int16) - 2048 if signed else stored
    tags = {"RescaleSlope": -2.0, "RescaleIntercept": 500.0, "VOILUTFunction": "SIGMOID"}
    centre, width = float(np.median(raw)) * -2 + 500, 1200.0
    pixels = grey(tmp_path, raw, WindowCenter=centre, WindowWidth=width, **tags)
    np.testing.assert_allclose(pixels, sigmoid(raw * -2.0 + 500, centre, width), atol=1e-5)


def test_window_of_width_one_is_a_step(tmp_path, stored):
    pixels = grey(tmp_path, stored, WindowCenter=1500.0, WindowWidth=1.0)
    np.testing.assert_array_equal(pixels, stored > 1499.5)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"WindowCenter": 1.0, "WindowWidth": 0.0}, "window width 0"),
        ({"WindowCenter": 1.0, "WindowWidth": -3.0, "VOILUTFunction": "SIGMOID"}, "window width -3"),
        ({"WindowCenter": 1.0, "WindowWidth": 9.0, "VOILUTFunction": "CUBIC"}, "'CUBIC' is unknown"),
        ({"RescaleSlope": 0.0, "RescaleIntercept": 1.0}, "slope 0"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette"),
    ],
)
def test_what_makes_no_picture_is_refused_in_words(tmp_path, stored, tags, words):
    with pytest.raises(UnreadableImageError, match=words):
        grey(tmp_path, stored, **tags)


def table_item(entries, first, bits, vr="OW", packed=False, first_vr="US"):
    """A LUT item written by hand: OW bytes or US words; 8-bit entries alone in a word or two in one."""
    words = np.asarray(entries, "<u1" if packed else "<u2").tobytes()
    words += b"\0" * (len(words) % 2)
    item = Dataset()
    first = first % 65536 if first_vr == "US" else first
    item.add_new("LUTDescriptor", first_vr, [len(entries) % 65536, first, bits])
    item.add_new("LUTData", vr, words if vr == "OW" else np.frombuffer(words, "<u2").tolist())
    return item


def with_table(tmp_path, stored, keyword, item, **settings):
    header = dicom(stored, **settings)
    setattr(header, keyword, [item])
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return read_image(tmp_path / "a.dcm").pixels


def looked_up(values, entries, first):
    """C.11.1.1.1 value by value."""
    return np.vectorize(lambda value: entries[min(max(int(value) - first, 0), len(entries) - 1)])(values)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize(
    ("bits", "vr", "packed"),
    [(8, "OW", False), (8, "OW", True), (8, "US", True), (10, "US", False), (12, "OW", False), (16, "US", False)],
)
@pytest.mark.parametrize("first", [0, 700])
def test_tables_of_every_depth_map_from_their_first_value_and_hold_at_both_ends(
    tmp_path, stored, keyword, bits, vr, packed, first
):
    entries = np.round(np.sqrt(np.linspace(0.04, 1, 1500)) * (2**bits - 1)).astype(int)
    pixels = with_table(tmp_path, stored, keyword, table_item(entries, first, bits, vr, packed))
    expected = looked_up(stored, entries, first) / (2**bits - 1)
    assert stored.min() < first or first == 0
    assert stored.max() > first + 1500
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("first_vr", ["SS", "US"])
def test_tables_of_signed_values_begin_below_zero_whichever_kind_of_number_is_written(
    tmp_path, stored, keyword, first_vr
):
    raw = stored.astype(np.int16) - 2048
    entries = np.arange(4096) // 4
    pixels = with_table(tmp_path, raw, keyword, table_item(entries, -2048, 10, first_vr=first_vr))
    np.testing.assert_allclose(pixels, (stored // 4) / 1023, atol=1e-6)


def test_a_table_of_65536_entries_is_announced_as_0(tmp_path):
    values = np.round(drawn_breast() * 65535).astype(np.uint16)
    item = table_item(np.arange(65536)[::-1], 0, 16)
    assert item.LUTDescriptor[0] == 0
    pixels = with_table(tmp_path, values, "VOILUTSequence", item, bits=16)
    np.testing.assert_allclose(pixels, 1 - values / 65535, atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_tables_of_big_endian_files(tmp_path, packed):
    values = np.round(drawn_breast() * 255).astype(np.uint16)
    entries = np.arange(256)[::-1]
    item = table_item(entries, 0, 8, packed=packed)
    item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
    header = dicom(values, bits=8)
    header.VOILUTSequence = [item]
    header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    header.PixelData = values.astype(">u2").tobytes()
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, 1 - values / 255, atol=1e-6)


def test_table_goes_before_window_and_the_window_after_a_modality_table(tmp_path, stored):
    half, cut = np.arange(4096) // 2, np.minimum(np.arange(4096), 2000)
    pixels = with_table(tmp_path, stored, "VOILUTSequence", table_item(half, 0, 12), **windowed())
    np.testing.assert_allclose(pixels, (stored // 2) / 4095, atol=1e-6)
    pixels = with_table(tmp_path, stored, "ModalityLUTSequence", table_item(cut, 0, 12), **windowed())
    np.testing.assert_allclose(pixels, linear(np.minimum(stored, 2000)), atol=1e-5)


def test_a_voi_table_is_meant_for_rescaled_values(tmp_path, stored):
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": -100.0}
    entries = np.arange(2148)
    pixels = with_table(tmp_path, stored, "VOILUTSequence", table_item(entries, -100, 12), **tags)
    np.testing.assert_allclose(pixels, stored * 0.5 / 4095, atol=0.51 / 4095)


def test_a_table_with_more_bits_than_it_announces_keeps_its_shape(tmp_path, stored):
    pixels = with_table(tmp_path, stored, "VOILUTSequence", table_item(np.arange(4096), 0, 10))
    np.testing.assert_allclose(pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize("spoil", ["short", "no data", "no descriptor", "bits"])
def test_a_table_that_cannot_be_is_refused(tmp_path, stored, spoil):
    item = table_item(np.arange(100), 0, 40 if spoil == "bits" else 12)
    if spoil == "short":
        item.LUTDescriptor = [4096, 0, 12]
    elif spoil == "no data":
        del item.LUTData
    elif spoil == "no descriptor":
        del item.LUTDescriptor
    with pytest.raises(UnreadableImageError, match="lookup table"):
        with_table(tmp_path, stored, "VOILUTSequence", item)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_an_emptied_table_counts_as_not_there(tmp_path, stored, keyword):
    np.testing.assert_allclose(grey(tmp_path, stored, **{keyword: []}), stored / 4095, atol=1e-6)


@pytest.mark.parametrize("vr", ["SS", "US"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_negative_padding_becomes_air_whatever_the_photometric_interpretation(tmp_path, stored, vr, photometric):
    raw = stored.astype(np.int16) - 2048
    raw[:, -20:], raw[:, -30:-20] = -2048, -2040
    header = dicom(raw, photometric=photometric)
    header.add_new("PixelPaddingValue", vr, -2048 % 65536 if vr == "US" else -2048)
    header.add_new("PixelPaddingRangeLimit", vr, -2040 % 65536 if vr == "US" else -2040)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    pixels = read_image(tmp_path / "a.dcm").pixels
    assert (pixels[:, -30:] == 0).all()
    expected = (raw[120, 40] + 2048) / 4095
    assert pixels[120, 40] == pytest.approx(1 - expected if photometric == "MONOCHROME1" else expected, abs=1e-6)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("padding", [0, 4095, 2000])
def test_padding_has_no_say_where_the_image_is_asked_for_its_polarity(tmp_path, stored, inverted, padding):
    """A Secondary Capture, most of it padding, at the wrong end or in the middle."""
    stored[stored == 2000] += 1
    raw = np.pad(np.clip(4095 - stored if inverted else stored, 1, 4094), ((0, 0), (0, 300)), constant_values=padding)
    image = read_image(write_dicom(tmp_path / "a.dcm", raw, Modality="OT", PixelPaddingValue=padding))
    assert not image.polarity_known
    assert is_inverted(image.pixels) == inverted
    assert (image.pixels[:, 180:] == float(inverted)).all()


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("padding", [0, 4095])
def test_padding_has_no_say_in_the_sign_of_processing_values(tmp_path, rising, padding):
    exposure = np.clip(np.round(4000 * np.exp(-4 * drawn_breast())), 1, 4094).astype(np.uint16)
    raw = np.pad(exposure if rising else 4095 - exposure, ((0, 0), (0, 300)), constant_values=padding)
    pixels = grey(tmp_path, raw, intent="FOR PROCESSING", PixelPaddingValue=padding)
    assert pixels[120, 40] > pixels[5, 170] + 0.2
    assert (pixels[:, 180:] == 0).all()


def test_signed_processing_values(tmp_path, stored):
    tags = {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1, "intent": "FOR PROCESSING"}
    pixels = grey(tmp_path, stored.astype(np.int16) - 2048, **tags)
    np.testing.assert_allclose(pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "known"),
    [
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", False),
        ("MONOCHROME2", "LIN OD", True),
        ("MONOCHROME1", None, True),
    ],
)
def test_presentation_lut_shape_inverts_nothing_twice_and_a_contradiction_leaves_it_to_the_image(
    tmp_path, stored, photometric, shape, known
):
    """C.8.11.3.1.2: INVERSE goes with MONOCHROME1 and IDENTITY with MONOCHROME2; it says the same once more."""
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, photometric=photometric, PresentationLUTShape=shape))
    expected = 1 - stored / 4095 if photometric == "MONOCHROME1" else stored / 4095
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
    assert image.polarity_known == known


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless, RLELossless])
def test_bits_that_do_not_lie_lowest_are_taken_from_where_the_header_says(tmp_path, stored, signed, syntax):
    raw = stored.astype(np.int16) - 2048 if signed else stored
    header = dicom((raw.astype(np.int32) << 4).astype(raw.dtype))
    header.BitsStored, header.HighBit, header.PixelRepresentation = 12, 15, int(signed)
    if syntax == RLELossless:
        header.compress(syntax)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_in_the_unused_bits_is_no_part_of_the_picture(tmp_path, stored, signed):
    """PS3.5 8.1.1: bits beyond Bits Stored may hold anything, in old files an overlay (group 60xx)."""
    raw = (stored.astype(np.int16) - 2048 if signed else stored).view(np.uint16) & 0x0FFF
    raw[100:140, 30:60] |= 0x8000
    header = dicom(stored, PixelRepresentation=int(signed))
    header.PixelData = raw.tobytes()
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, stored / 4095, atol=1e-6)


@pytest.mark.parametrize(("bits", "high"), [(12, 10), (12, 16)])
def test_bits_that_cannot_be_are_refused(tmp_path, stored, bits, high):
    with pytest.raises(UnreadableImageError, match="High Bit"):
        grey(tmp_path, stored, BitsStored=bits, HighBit=high)


def test_bits_that_lie_higher_under_a_codec_of_its_own_precision_are_refused(tmp_path, stored):
    header = dicom(stored)
    header.compress(JPEGLSLossless)
    header.BitsStored, header.HighBit = 10, 11
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="High Bit"):
        read_image(tmp_path / "a.dcm")


def test_a_missing_high_bit_means_the_lowest_bits(tmp_path, stored):
    header = dicom(stored)
    del header.HighBit
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").pixels, stored / 4095, atol=1e-6)
