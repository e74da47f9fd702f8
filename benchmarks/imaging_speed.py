"""CPU milliseconds from file to network input, from cache to array, and of augmentation, on one core.

Run from the repository's root: ``python benchmarks/imaging_speed.py``
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.configuration import AugmentationConfig, ImagingConfig, PhantomConfig
from common.data.augmentation import augment
from common.data.cache import ImageCache
from common.imaging.preprocessing import prepare_image
from common.imaging.reading import read_image
from simulations.sources import write_phantom

LARGE_ROWS, LARGE_COLUMNS = 4096, 3328


def milliseconds(action: Callable[[], object], repeats: int) -> float:
    """Median CPU time of ``action``: other work on the machine does not count."""
    action()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(1000 * (time.process_time() - began))
    return float(np.median(times))


def write_examples(folder: Path) -> dict[str, Path]:
    """One phantom view as DICOM 512 x 384, as JPEG 640 x 640, and blown up to full field, plain and compressed."""
    write_phantom(PhantomConfig(sites=["MCS"], unseen=[], exams=1), folder)
    small = sorted((folder / "MCS").rglob("*.dcm"))[0]
    grey = (255 * read_image(small).pixels).astype(np.uint8)
    Image.fromarray(grey).resize((640, 640)).save(folder / "square.jpg", quality=90)
    header = dcmread(small)
    stored: npt.NDArray[np.uint16] = np.asarray(
        Image.fromarray(header.pixel_array.astype(np.float32)).resize((LARGE_COLUMNS, LARGE_ROWS))
    ).astype(np.uint16)
    header.Rows, header.Columns, header.PixelData = LARGE_ROWS, LARGE_COLUMNS, stored.tobytes()
    header.save_as(folder / "large.dcm")
    header.compress(JPEGLSLossless)
    header.save_as(folder / "large-jpegls.dcm")
    return {
        "DICOM 512 x 384": small,
        "JPEG 640 x 640": folder / "square.jpg",
        f"DICOM {LARGE_ROWS} x {LARGE_COLUMNS}": folder / "large.dcm",
        f"DICOM {LARGE_ROWS} x {LARGE_COLUMNS}, JPEG-LS": folder / "large-jpegls.dcm",
    }


def load(cache: ImageCache, path: Path) -> npt.NDArray[np.float32]:
    """What a batch does for one image."""
    return np.array(cache.get(path, "L").pixels, dtype=np.float32)


def main() -> None:
    """Print one line a measurement."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = write_examples(folder)
        cache = ImageCache(folder / "cache", ImagingConfig())
        print("CPU milliseconds an image, median, one core")
        print(f"{'file':<32}{'read':>8}{'prepare':>9}{'cached':>8}")
        for label, path in examples.items():
            repeats = 5 if "large" in path.name else 30
            read = milliseconds(partial(read_image, path), repeats)
            whole = milliseconds(partial(prepare_image, path, "L", ImagingConfig()), repeats)
            found = milliseconds(partial(load, cache, path), 30)
            print(f"{label:<32}{read:8.1f}{whole:9.1f}{found:8.2f}")
        pixels = load(cache, examples["DICOM 512 x 384"])
        batch = torch.from_numpy(pixels)[None, None].repeat(32, 1, 1, 1)
        owner = torch.Generator().manual_seed(0)
        each = milliseconds(lambda: augment(batch, AugmentationConfig(), owner), 10) / len(batch)
        print(f"augment 256 x 192: {each:.2f} ms an image (one thread)")


if __name__ == "__main__":
    main()
