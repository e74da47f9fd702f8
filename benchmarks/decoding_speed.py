"""Images decoded in a second of CPU time, for each compression of DICOM, at 3328 x 2560 pixels of 14 bits.

Run from the repository's root: ``python benchmarks/decoding_speed.py``. The CPU time of the process that GDCM has to
itself counts too. The picture is a phantom, enlarged, with noise of its own at the full size: noise is what costs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom import uid
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.configuration import PhantomConfig
from common.imaging.decoding import DECODERS, decode
from common.imaging.dicom_file import read_whole
from common.imaging.reading import read_image
from simulations.sources import write_phantom
from tests.common.imaging import compressed

ROWS, COLUMNS, BITS = 3328, 2560, 14
NOISE = 16.0
"""Standard deviation in stored values."""
ENOUGH = 2.0
"""CPU seconds a measurement."""
TICKS = os.sysconf("SC_CLK_TCK")

Stored = npt.NDArray[np.integer]
WRITERS: Mapping[str, Callable[[Path, Stored], None]] = {
    "uncompressed": partial(compressed.write_plain, bits=BITS, signed=False),
    "deflated": partial(compressed.write_plain, bits=BITS, signed=False, syntax=uid.DeflatedExplicitVRLittleEndian),
    "RLE": partial(compressed.write_rle, bits=BITS, signed=False),
    "JPEG lossless (SV1)": partial(compressed.write_jpeg_lossless, bits=BITS, signed=False),
    "JPEG lossless (process 14)": partial(compressed.write_jpeg_lossless, bits=BITS, signed=False, predictor=7),
    "JPEG-LS": partial(compressed.write_jpeg_ls, bits=BITS, signed=False),
    "JPEG 2000, lossless": partial(compressed.write_jpeg2000, bits=BITS, signed=False),
    "JPEG 2000, lossy 10:1": partial(compressed.write_jpeg2000, bits=BITS, signed=False, ratios=[10]),
    "HTJ2K, lossless": partial(compressed.write_htj2k, bits=BITS, signed=False),
}


def write_jpeg(path: Path, stored: Stored) -> None:
    """JPEG baseline: 8 bits are all it has."""
    bytes_ = (stored >> (BITS - 8)).astype(np.uint8)
    compressed.write_frame(path, bytes_, 8, False, uid.JPEGBaseline8Bit, imagecodecs.jpeg_encode(bytes_, level=90))


def picture(folder: Path) -> Stored:
    """A phantom view at full size."""
    write_phantom(PhantomConfig(sites=["MCS"], unseen=[], exams=1), folder)
    small = read_image(sorted((folder / "MCS").rglob("*.dcm"))[0]).pixels
    large = np.asarray(Image.fromarray(small).resize((COLUMNS, ROWS))) * (2**BITS - 1)
    noise = np.random.default_rng(0).normal(0, NOISE, large.shape)
    return np.clip(np.round(large + noise * (large > 0)), 0, 2**BITS - 1).astype(np.uint16)


def cpu_seconds() -> float:
    """CPU time of this process and all its descendants: times() would leave out those that still run."""
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # ended meanwhile
        process = int(path.parent.name)
        parents[process], spent[process] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent[process] for process in ours) / TICKS


def images_a_second(action: Callable[[], object]) -> float:
    """How often ``action`` is done in a second of CPU time."""
    action()
    began, times = cpu_seconds(), 0
    while cpu_seconds() - began < ENOUGH:
        action()
        times += 1
    return times / (cpu_seconds() - began)


def read_and_decode(path: Path) -> Stored:
    """From the file to stored values."""
    return decode(read_whole(path))


def main() -> None:
    """Print a table."""
    print("| compression | decoder | MB | decoded, images/s | grey values, images/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        stored = picture(Path(name))
        for label, write in {**WRITERS, "JPEG baseline (8 bits)": write_jpeg}.items():
            path = Path(name) / "a.dcm"
            write(path, stored)
            syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
            decoded = images_a_second(partial(read_and_decode, path))
            grey = images_a_second(partial(read_image, path))
            size = path.stat().st_size / 1e6
            print(f"| {label} | {DECODERS.get(syntax, 'none')} | {size:.1f} | {decoded:.1f} | {grey:.1f} |", flush=True)


if __name__ == "__main__":
    main()
