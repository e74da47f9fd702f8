"""Encoders of DICOM's compressions and readers of their own, for comparing ours bit by bit."""

import subprocess

import gdcm
import imagecodecs
import numpy as np
import openjpeg
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from tests.common.imaging.mammograms import dicom


def header_of(stored, bits, signed):
    """A mammogram of 8 bits in a byte or more bits in two, uncompressed."""
    header = dicom(stored, bits=bits, PixelRepresentation=int(signed))
    header.BitsAllocated = 8 if bits == 8 else 16
    header.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    header["PixelData"].VR = "OB" if bits == 8 else "OW"
    return header


def write_plain(path, stored, bits, signed, syntax=uid.ExplicitVRLittleEndian):
    """Uncompressed in any encoding, big endian too."""
    header = header_of(stored, bits, signed)
    header.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian and bits > 8:
        header.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    header.save_as(path, enforce_file_format=True)


def write_frame(path, stored, bits, signed, syntax, frame, **tags):
    """One compressed frame under a header of our own."""
    header = header_of(stored, bits, signed)
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)


def as_unsigned(stored, bits):
    """The same bits as a codec without signs sees them."""
    return stored.view(stored.dtype.str.replace("i", "u")) & (2**bits - 1)


def write_rle(path, stored, bits, signed):
    header = header_of(stored, bits, signed)
    header.compress(uid.RLELossless, encoding_plugin="pydicom")
    header.save_as(path, enforce_file_format=True)


def write_rle_literally(path, stored, bits, signed):
    """RLE of literal runs alone: as valid as any other, and written in no time. 16 bits."""
    planes = []
    for plane in (stored >> 8, stored & 255):  # the high bytes come first
        rows, columns = plane.shape
        starts = range(0, columns, 128)
        coded = np.empty((rows, columns + len(starts)), np.uint8)
        for number, start in enumerate(starts):
            run = plane[:, start : start + 128]
            coded[:, start + number] = run.shape[1] - 1
            coded[:, start + number + 1 : start + number + 1 + run.shape[1]] = run
        planes.append(coded.tobytes() + b"\0" * (coded.size % 2))
    head = np.zeros(16, "<u4")
    head[:3] = 2, 64, 64 + len(planes[0])
    write_frame(path, stored, bits, signed, uid.RLELossless, head.tobytes() + b"".join(planes))


def write_jpeg_lossless(path, stored, bits, signed, predictor=1):
    """libjpeg-turbo; the first predictor alone makes SV1."""
    syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
    frame = imagecodecs.jpeg_encode(as_unsigned(stored, bits), lossless=True, predictor=predictor, bitspersample=bits)
    write_frame(path, stored, bits, signed, syntax, frame)


def write_jpeg_ls(path, stored, bits, signed, error=0):
    header = header_of(stored, bits, signed)
    syntax = uid.JPEGLSNearLossless if error else uid.JPEGLSLossless
    header.compress(syntax, encoding_plugin="pyjpegls", **({"jls_error": error} if error else {}))
    header.save_as(path, enforce_file_format=True)


def write_jpeg2000(path, stored, bits, signed, ratios=None):
    lossless = ratios is None
    frame = openjpeg.encode(stored, bits_stored=bits, **({} if lossless else {"compression_ratios": ratios}))
    write_frame(path, stored, bits, signed, uid.JPEG2000Lossless if lossless else uid.JPEG2000, frame)


def write_htj2k(path, stored, bits, signed, level=None):
    """OpenJPH."""
    frame = imagecodecs.htj2k_encode(stored, level=level, reversible=level is None)
    write_frame(path, stored, bits, signed, uid.HTJ2K if level is not None else uid.HTJ2KLossless, frame)


def read_by_gdcm(path, bits):
    """GDCM's own reader; it leaves the signs of JPEG-LS to the header."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    image = reader.GetImage()
    kind = image.GetPixelFormat()
    dtype = f"{'i' if kind.GetPixelRepresentation() else 'u'}{kind.GetBitsAllocated() // 8}"
    data = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    rows, columns = image.GetDimension(1), image.GetDimension(0)
    values = np.frombuffer(data, dtype=dtype)[: rows * columns].reshape(rows, columns)
    return signed(values, bits) if kind.GetPixelRepresentation() else values


def signed(values, bits):
    """Two's complement of ``bits`` bits."""
    values = values.astype(np.int32) & (2**bits - 1)
    return np.where(values >= 2 ** (bits - 1), values - 2**bits, values)


def read_by_imagecodecs(path, bits):
    """The frame by liblj92 or OpenJPH; codecs without signs leave them to the header."""
    header = pydicom.dcmread(path)
    frame = get_frame(header.PixelData, 0, number_of_frames=1)
    high_throughput = header.file_meta.TransferSyntaxUID in (uid.HTJ2KLossless, uid.HTJ2K)
    values = np.asarray((imagecodecs.htj2k_decode if high_throughput else imagecodecs.jpegsof3_decode)(frame))
    return signed(values, bits) if header.PixelRepresentation else values


def read_by_dcmtk(path, folder):
    """``dcmdjpeg``, then the uncompressed values."""
    plain = folder / "by-dcmtk.dcm"
    subprocess.run(["dcmdjpeg", str(path), str(plain)], check=True, capture_output=True, timeout=60)
    return pydicom.dcmread(plain).pixel_array
