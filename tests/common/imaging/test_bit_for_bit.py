"""Stored values of every lossless compression equal, bit for bit, what was encoded and what another reader finds.

Ours and the other are different programs: GDCM where ours is not, liblj92 (imagecodecs) and dcmtk where it is GDCM,
OpenJPH (imagecodecs) for high-throughput JPEG 2000. Lossy ones are compared with their source within their error.
"""

import shutil
from functools import partial

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid

from common.imaging.decoding import DECODERS, decode
from tests.common.imaging import compressed
from tests.common.imaging.mammograms import drawn_breast

FORMATS = [
    (8, False),
    (8, True),
    (10, False),
    (12, False),
    (12, True),
    (14, False),
    (14, True),
    (16, False),
    (16, True),
]
SIZES = [(33, 45), (64, 35)]
LOSSLESS = {
    "implicit": (partial(compressed.write_plain, syntax=uid.ImplicitVRLittleEndian), "gdcm"),
    "explicit": (partial(compressed.write_plain, syntax=uid.ExplicitVRLittleEndian), "gdcm"),
    "deflated": (partial(compressed.write_plain, syntax=uid.DeflatedExplicitVRLittleEndian), "gdcm"),
    "big endian": (partial(compressed.write_plain, syntax=uid.ExplicitVRBigEndian), "gdcm"),
    "RLE": (compressed.write_rle, "gdcm"),
    **{
        f"JPEG lossless, predictor {number}": (partial(compressed.write_jpeg_lossless, predictor=number), "imagecodecs")
        for number in range(1, 8)
    },
    "JPEG-LS": (compressed.write_jpeg_ls, "gdcm"),
    "JPEG 2000": (compressed.write_jpeg2000, "gdcm"),
    "HTJ2K": (compressed.write_htj2k, "imagecodecs"),
}


def noise(bits, signed, size):
    """Values all over the range, with both ends, and a smooth half as tissue is."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.random.default_rng(bits).integers(low, high + 1, size)
    values[:, size[1] // 2 :] = np.linspace(low, high, size[1] - size[1] // 2).astype(int)
    values[0, :2] = low, high
    return values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("bits", "signed"), FORMATS)
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless(tmp_path, name, bits, signed, size):
    write, reader = LOSSLESS[name]
    stored, path = noise(bits, signed, size), tmp_path / "a.dcm"
    write(path, stored, bits, signed)
    found = decode(pydicom.dcmread(path))
    np.testing.assert_array_equal(found, stored)
    assert found.dtype.kind == stored.dtype.kind
    other = compressed.read_by_gdcm(path, bits) if reader == "gdcm" else compressed.read_by_imagecodecs(path, bits)
    np.testing.assert_array_equal(found, other)


@pytest.mark.skipif(not shutil.which("dcmdjpeg"), reason="dcmdjpeg (Debian: dcmtk) is not installed")
@pytest.mark.parametrize(("bits", "signed"), FORMATS)
@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_jpeg_lossless_as_dcmtk_reads_it(tmp_path, predictor, bits, signed):
    path = tmp_path / "a.dcm"
    compressed.write_jpeg_lossless(path, noise(bits, signed, (31, 45)), bits, signed, predictor)
    np.testing.assert_array_equal(decode(pydicom.dcmread(path)), compressed.read_by_dcmtk(path, tmp_path))


def breast(bits):
    return np.round(drawn_breast() * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("error", [1, 3])
def test_near_lossless_jpeg_ls_keeps_its_bound(tmp_path, bits, error):
    stored = breast(bits)
    compressed.write_jpeg_ls(tmp_path / "a.dcm", stored, bits, False, error)
    found = decode(pydicom.dcmread(tmp_path / "a.dcm")).astype(int)
    assert 0 < np.abs(found - stored).max() <= error
    np.testing.assert_array_equal(found, compressed.read_by_gdcm(tmp_path / "a.dcm", bits))


def test_lossy_jpeg_of_8_bits_is_what_its_own_decoder_finds(tmp_path):
    stored = breast(8)
    frame = imagecodecs.jpeg_encode(stored, level=95)
    compressed.write_frame(tmp_path / "a.dcm", stored, 8, False, uid.JPEGBaseline8Bit, frame)
    found = decode(pydicom.dcmread(tmp_path / "a.dcm")).astype(int)
    assert np.abs(found - imagecodecs.jpeg_decode(frame)).max() <= 1  # decoders may round differently
    assert 0 < np.abs(found - stored).mean() < 2


def test_lossy_jpeg_of_12_bits_is_what_its_own_decoder_finds(tmp_path):
    stored = breast(12)
    frame = imagecodecs.jpeg_encode(stored, level=95, bitspersample=12)
    compressed.write_frame(tmp_path / "a.dcm", stored, 12, False, uid.JPEGExtended12Bit, frame)
    found = decode(pydicom.dcmread(tmp_path / "a.dcm")).astype(int)
    assert np.abs(found - imagecodecs.jpeg_decode(frame)).max() <= 1
    assert 0 < np.abs(found - stored).mean() < 20


def test_signed_jpeg_of_12_bits_is_refused(tmp_path):
    frame = imagecodecs.jpeg_encode(breast(12), level=95, bitspersample=12)
    compressed.write_frame(tmp_path / "a.dcm", breast(12).view(np.int16), 12, True, uid.JPEGExtended12Bit, frame)
    with pytest.raises(ValueError, match="signed values in JPEG of 12 bits"):
        decode(pydicom.dcmread(tmp_path / "a.dcm"))


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("write", [compressed.write_jpeg2000, compressed.write_htj2k])
def test_lossy_jpeg_2000_is_near_its_source(tmp_path, bits, write):
    stored = breast(bits)
    write(tmp_path / "a.dcm", stored, bits, False, [8] if write is compressed.write_jpeg2000 else 2.0 ** -(bits - 3))
    found = decode(pydicom.dcmread(tmp_path / "a.dcm")).astype(int)
    assert 0 < np.sqrt(((found - stored) ** 2).mean()) < 0.02 * 2**bits


def test_every_compression_that_is_decoded_is_compared():
    compared = {
        uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless,
        uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit,
    }  # fmt: skip
    assert set(DECODERS) - compared == {uid.HTJ2KLosslessRPCL}  # HTJ2K in another order of packets
