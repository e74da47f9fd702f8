"""How large an image a compressed frame announces or holds, found before a decoder takes memory for it."""

from __future__ import annotations

import struct
from itertools import pairwise

from pydicom import uid

JPEG_2000 = (*uid.JPEG2000TransferSyntaxes, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
NO_SIZE = (0xC4, 0xC8, 0xCC)
"""Markers among those of JPEG frames that announce something else (Huffman tables, arithmetic coding)."""
JPEG_LS_FRAME = 0xF7
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
HARMLESS = 4 << 20
"""Bytes: run-length data, which grow at most 64-fold, of this size are not worth counting."""


def announced_shape(frame: bytes, syntax: uid.UID) -> tuple[int, int, int]:
    """Rows, columns and samples a pixel.

    Args:
        frame: JPEG, JPEG-LS or JPEG 2000 (also high-throughput, also in a JP2 file).
        syntax: its transfer syntax.

    Raises:
        ValueError: no size is announced.
    """
    shape = _jpeg2000(frame) if syntax in JPEG_2000 else _jpeg(frame)
    if shape is None:
        raise ValueError("the compressed pixel data are damaged: they do not tell their size")
    return shape


def refuse_long_runs(frame: bytes, pixels: int) -> None:
    """PackBits segments (PS3.5 Annex G) say how long they are only by unpacking: count, before pydicom unpacks all.

    Args:
        frame: RLE lossless.
        pixels: bytes that each of its segments should give.

    Raises:
        ValueError: a segment gives, or takes, more than twice that much.
    """
    most = 2 * pixels + 64
    if len(frame) <= HARMLESS:
        return
    segments = min(struct.unpack("<L", frame[:4])[0], 15)
    for begin, end in pairwise((*struct.unpack(f"<{segments}L", frame[4 : 4 + 4 * segments]), len(frame))):
        at, length = begin, 0
        while at < end and length <= most and at - begin <= most:
            byte = frame[at]
            literal = byte < 128
            length += byte + 1 if literal else (257 - byte) % 129  # 128 does nothing
            at += byte + 2 if literal else 1 + (byte != 128)
        if at < end and (length > most or at - begin > most):
            raise ValueError("the run-length data are longer than the image")


def _jpeg(frame: bytes) -> tuple[int, int, int] | None:
    """ITU-T T.81 B.2.2 and T.87 C.2.2: segments of marker and length until the frame's header."""
    at = 2
    while at + 9 < len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        elif (0xC0 <= marker <= 0xCF and marker not in NO_SIZE) or marker == JPEG_LS_FRAME:
            return _number(frame, at + 5, 2), _number(frame, at + 7, 2), frame[at + 9]
        else:
            at += 2 + _number(frame, at + 2, 2)
    return None


def _jpeg2000(frame: bytes) -> tuple[int, int, int] | None:
    """ITU-T T.800 A.5.1: the image between its offset and its end on the reference grid."""
    at = frame.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(frame) < at + 42:
        return None
    right, bottom, left, top = (_number(frame, at + place, 4) for place in (8, 12, 16, 20))
    return bottom - top, right - left, _number(frame, at + 40, 2)


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
