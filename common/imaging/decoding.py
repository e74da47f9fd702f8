"""Pixels of a DICOM file, by a chosen decoder for each compression; damaged data never end the process."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from common.imaging.codestream import announced_shape, refuse_long_runs
from common.imaging.dicom_file import refuse_frames

MOST_PIXELS = 50_000_000
"""Above any mammogram (film of 24 x 30 cm scanned at 50 micrometres has 29 million), far below a machine's memory."""

DECODERS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "gdcm",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
"""GDCM ends its process on some damaged data, so it gets one of its own, and only what nothing else can decode."""


JP2_HEADER = b"\x00\x00\x00\x0cjP  "
CODESTREAM = b"jp2c"


def decode(header: FileDataset) -> npt.NDArray[np.integer]:
    """Stored values ``(rows, columns)``, or ``(rows, columns, 3)`` in colour.

    Raises:
        ValueError: several frames, more pixels or bits than any mammogram has, an unknown compression.
        Exception: whatever a decoder raises for damaged data.
    """
    refuse_frames(header)
    if "PixelData" not in header:
        raise ValueError("it holds no pixels (a report, an index or another object)")
    rows, columns, bits = int(header.Rows), int(header.Columns), int(header.BitsAllocated)
    if rows * columns > MOST_PIXELS:
        raise ValueError(f"{rows} x {columns} pixels are more than any mammogram has")
    if bits not in (8, 16):
        raise ValueError(f"{bits} bits a pixel: 8 and 16 are supported")
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ValueError("its head does not tell how the pixels are stored (no Transfer Syntax UID)")
    if syntax.is_compressed and not syntax.is_deflated and syntax not in DECODERS:
        raise ValueError(f"its compression is not supported: {syntax.name}")
    if syntax == uid.RLELossless:
        refuse_long_runs(get_frame(header.PixelData, 0, number_of_frames=1), rows * columns)
    elif syntax in DECODERS:
        _refuse_other_size(get_frame(header.PixelData, 0, number_of_frames=1), header)
    values = _decoded(header, DECODERS.get(syntax, ""))
    if values.shape[:2] != (rows, columns):
        raise ValueError(f"{rows} x {columns} pixels are announced, {values.shape[0]} x {values.shape[1]} are there")
    return values


def _decoded(header: FileDataset, decoder: str) -> npt.NDArray[np.integer]:
    """Stored values from the bits where the header says that they are.

    pydicom expects them in the lowest bits; a header may say that they lie higher (PS3.5 8.1.1, High
    Bit: retired, but archives are old).
    """
    stored = int(header.BitsStored)
    unused = int(header.get("HighBit", stored - 1)) + 1 - stored
    if decoder == "gdcm" and not unused:
        return _decode_apart(str(header.filename))
    if not unused:
        return pixel_array(header, decoding_plugin=decoder)
    if unused < 0 or stored + unused > header.BitsAllocated or decoder not in ("", "pydicom"):
        raise ValueError(f"High Bit {header.HighBit} and Bits Stored {stored} do not go together")
    header.BitsStored = stored + unused
    try:
        return np.asarray(np.right_shift(pixel_array(header, decoding_plugin=decoder), unused))
    finally:
        header.BitsStored = stored


class _Helper:
    """A process that decodes one file after the other; ends with this one."""

    def __init__(self) -> None:
        context = get_context("forkserver")
        self._pipe, its_end = context.Pipe()
        context.Process(target=_serve, args=(its_end,), daemon=True).start()
        its_end.close()

    def decode(self, path: str) -> npt.NDArray[np.integer]:
        """Raises EOFError or OSError if the process breaks down, else what the decoder raised."""
        self._pipe.send(path)
        found = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return np.asarray(found)


def _serve(pipe: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # GDCM speaks of every attempt; what it raises goes through the pipe
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_decode_by_gdcm(path))
        except Exception as error:  # named by whoever asked
            pipe.send(error if isinstance(error, MemoryError) else ValueError(str(error)))


def _decode_by_gdcm(path: str) -> npt.NDArray[np.integer]:
    """Stored values; JPEG of 12 bits by GDCM itself, for which pydicom 3.0 refuses to ask it."""
    header = pydicom.dcmread(path, force=True)
    if header.file_meta.TransferSyntaxUID != uid.JPEGExtended12Bit or header.BitsAllocated == 8:
        return pixel_array(header, decoding_plugin="gdcm")
    if header.PixelRepresentation:
        raise ValueError("signed values in JPEG of 12 bits are not supported")
    import gdcm  # only here: it need not be loaded where nothing needs it

    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise ValueError("the JPEG data are damaged")
    values = np.frombuffer(reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape"), dtype=np.uint16)
    return values.reshape(header.Rows, header.Columns)


_helper: _Helper | None = None
"""Made when a file needs it first, and anew when it broke down."""


def _decode_apart(path: str) -> npt.NDArray[np.integer]:
    global _helper
    _helper = _helper or _Helper()
    try:
        return _helper.decode(path)
    except (EOFError, OSError) as error:
        _helper = None
        raise ValueError("its decoder broke down: the pixel data are damaged") from error


def _refuse_other_size(frame: bytes, header: FileDataset) -> None:
    """A frame must announce the size that its header announces, or its decoder takes memory for another."""
    syntax = header.file_meta.TransferSyntaxUID
    _refuse_endless_boxes(frame)
    announced = announced_shape(frame, syntax)
    expected = (int(header.Rows), int(header.Columns), int(header.SamplesPerPixel))
    if announced != expected:
        rows, columns, samples = announced
        raise ValueError(
            f"{expected[0]} x {expected[1]} pixels of {expected[2]} are announced, "
            f"{rows} x {columns} of {samples} are compressed"
        )


def _refuse_endless_boxes(frame: bytes) -> None:
    """A JP2 box of length 0 before the codestream: pydicom 3.0 would look for the next one for ever."""
    at = 12 if frame.startswith(JP2_HEADER) else len(frame)
    while at < len(frame) and frame[at + 4 : at + 8] != CODESTREAM:
        length = int.from_bytes(frame[at : at + 4], "big")
        if length == 0:
            raise ValueError("the JPEG 2000 data are damaged (a box of no length)")
        at += length
