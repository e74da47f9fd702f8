"""Opens DICOM files, wholly or their headers, without taking more memory than a mammogram may."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import uid
from pydicom.dataset import FileDataset

ENDINGS = (".dcm", ".dicom")
LARGEST_FILE = 256 << 20
"""Bytes: an uncompressed mammogram of the most pixels that are decoded, in 16 bits, twice over."""
HEAD = 1 << 16
CHUNK = 1 << 20

# What pydicom has to say of odd headers is said here by name, or does not matter.
logging.getLogger("pydicom").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"pydicom\.")


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, by its first bytes or its name.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM" or path.suffix.lower() in ENDINGS


def read_whole(path: Path) -> FileDataset:
    """Header and pixel data.

    Raises:
        ValueError: several frames, or more bytes than any mammogram has.
        Exception: whatever pydicom raises for damaged files.
    """
    if path.stat().st_size > LARGEST_FILE:
        refuse_frames(read_header(path, ("NumberOfFrames",)))
        raise ValueError(f"the file is larger than any mammogram (over {LARGEST_FILE >> 20} MB)")
    _refuse_bomb(path)
    return pydicom.dcmread(path, force=True)


def read_header(path: Path, tags: Sequence[str]) -> FileDataset:
    """Some attributes of the header; the pixels stay on disk.

    Raises:
        ValueError: its compressed header is larger than any mammogram.
        Exception: whatever pydicom raises for damaged files.
    """
    _refuse_bomb(path)
    return pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(tags))


def refuse_frames(header: FileDataset) -> None:
    """Raises ValueError for an object of several frames."""
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ValueError(f"{frames} frames: multi-frame objects (tomosynthesis) are not supported yet")


def _refuse_bomb(path: Path) -> None:
    """A deflated file is inflated whole, whatever is asked of it: not if that gives more than a mammogram."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
        if uid.DeflatedExplicitVRLittleEndian.encode() not in head:
            return
        stream.seek(_end_of_meta(head))
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        while size <= LARGEST_FILE and not inflate.eof:
            data = inflate.unconsumed_tail or stream.read(CHUNK)
            if not data:
                return
            size += len(inflate.decompress(data, CHUNK))
    if size > LARGEST_FILE:
        raise ValueError(f"deflated data of more than {LARGEST_FILE >> 20} MB: no mammogram")


def _end_of_meta(head: bytes) -> int:
    """Where the deflated part begins: behind group 2, whose first element holds its length (PS3.10 7.1)."""
    begin = head.find(b"\x02\x00\x00\x00UL\x04\x00")
    if begin < 0:
        raise ValueError("the length of its file meta information is missing")
    return begin + 12 + int.from_bytes(head[begin + 8 : begin + 12], "little")
