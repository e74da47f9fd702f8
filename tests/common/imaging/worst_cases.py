"""Files that announce or unpack to far more than they hold."""

import struct
import zlib

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.common.imaging.compressed import write_jpeg2000, write_jpeg_lossless
from tests.common.imaging.mammograms import dicom

LARGE = 60_000


def _spoilt(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def announced_only(path):
    """A header of 9999 x 9999 pixels over a few bytes."""
    dicom(np.zeros((8, 8), np.uint16), Rows=9999, Columns=9999).save_as(path, enforce_file_format=True)


def large_jpeg2000(path):
    """8 x 8 in the header, 60000 x 60000 in the codestream (SIZ: extent, then size of a tile)."""
    stored = np.zeros((64, 48), np.uint16)
    write_jpeg2000(path, stored, 12, False)
    _spoilt(path, struct.pack(">IIII", 48, 64, 0, 0), struct.pack(">IIII", LARGE, LARGE, 0, 0))


def large_jpeg(path):
    """64 x 48 in the header, 60000 x 60000 in the frame (SOF3: precision, rows, columns, components)."""
    write_jpeg_lossless(path, np.zeros((64, 48), np.uint16), 12, False)
    _spoilt(path, struct.pack(">BHHB", 12, 64, 48, 1), struct.pack(">BHHB", 12, LARGE, LARGE, 1))


def deflate_bomb(path):
    """More than half a gigabyte of zeros in less than a megabyte."""
    header = dicom(np.zeros((8, 8), np.uint16))
    header.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 24)
    packed = [deflate.compress(zeros) for _ in range(36)]
    path.write_bytes(data[:start] + b"".join(packed) + deflate.flush())


def endless_element(path):
    """An element of four gigabytes at the end of a small file."""
    dicom(np.zeros((8, 8), np.uint16)).save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes() + struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 0xFFFFFFF0))


def endless_pixels(path):
    """The same with the pixel data."""
    header = dicom(np.zeros((8, 8), np.uint16))
    del header.PixelData
    header.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFF0))


def many_fragments(path):
    """A frame in half a million pieces, most of them empty."""
    header = dicom(np.zeros((8, 8), np.uint16))
    header.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    header.PixelData = encapsulate([b"\0\0"], has_bot=False)
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)
    empty = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    data = path.read_bytes()
    end = data.rindex(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    path.write_bytes(data[:end] + empty * 500_000 + data[end:])


def run_length_bomb(path):
    """50 million pixels of runs: the most that is decoded, from less than a megabyte."""
    rows = columns = 7000
    run = bytes([129, 0]) * (rows * columns // 128 + 1)  # 128 zeros each
    head = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13)
    header = dicom(np.zeros((8, 8), np.uint16), Rows=rows, Columns=columns)
    header.file_meta.TransferSyntaxUID = uid.RLELossless
    header.PixelData = encapsulate([head + run + run])
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)


def run_length_overrun(path):
    """8 x 8 in the header, 2.5 gigabytes of zeros in the runs."""
    run = bytes([129, 0]) * 20_000_000
    head = struct.pack("<16I", 2, 64, 64, *[0] * 13)
    header = dicom(np.zeros((8, 8), np.uint16))
    header.file_meta.TransferSyntaxUID = uid.RLELossless
    header.PixelData = encapsulate([head + run])
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)


def deep_sequences(path):
    """Sequences in sequences, a thousand deep."""
    dicom(np.zeros((8, 8), np.uint16)).save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    at = data.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    level = struct.pack("<HH2sHI", 0x0054, 0x0220, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    path.write_bytes(data[:at] + level * 1000 + data[at:])


def large_png(path):
    """169 million pixels of nothing: Pillow itself would only warn."""
    head = b"\x89PNG\r\n\x1a\n"

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(1 << 20))
    path.write_bytes(
        head
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )
