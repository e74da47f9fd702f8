"""No file takes more than a gigabyte, neither here nor in the process that GDCM has to itself."""

import gc
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from tests.common.imaging import worst_cases
from tests.common.imaging.compressed import (
    write_jpeg2000,
    write_jpeg_lossless,
    write_jpeg_ls,
    write_plain,
    write_rle_literally,
)
from tests.common.imaging.damaged import OTHERS, damaged_files, outcome
from tests.common.imaging.mammograms import drawn_breast

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
REAL = Path("../shared/data/dicom")
LIMIT = 1024
"""MB."""
CASES = [
    worst_cases.announced_only,
    worst_cases.large_jpeg2000,
    worst_cases.large_jpeg,
    worst_cases.deflate_bomb,
    worst_cases.endless_element,
    worst_cases.endless_pixels,
    worst_cases.many_fragments,
    worst_cases.run_length_bomb,
    worst_cases.run_length_overrun,
    worst_cases.deep_sequences,
    worst_cases.large_png,
]

LARGEST = {
    "uncompressed": write_plain,
    "deflated": partial(write_plain, syntax=uid.DeflatedExplicitVRLittleEndian),
    "RLE": write_rle_literally,
    "JPEG lossless": write_jpeg_lossless,
    "JPEG-LS": write_jpeg_ls,
    "JPEG 2000": write_jpeg2000,
}


def peaks(process="self"):
    """The peak, MB, of a process and of those that it started and that still run."""
    yield int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from peaks(child)


def outcomes_and_peak(paths):
    """Outcomes of all files, and the largest peak of this process and of its helper, MB."""
    return [outcome(path) for path in paths], max(peaks())


def family(process="self"):
    """A process and those that it started and that still run."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(child)


def one_by_one(paths):
    """Outcome and largest peak of each file by itself."""
    found = []
    for path in paths:
        gc.collect()
        for process in family():
            Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak becomes what is resident now (proc(5))
        found.append((outcome(path), max(peaks())))
    return found


def measured(paths, work=outcomes_and_peak):
    """In a process of its own: a peak does not go down by itself."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, list(paths)).result(timeout=120)


@pytest.fixture(scope="module")
def worst(tmp_path_factory):
    """All cases in one process, for starting one takes longer than reading a file."""
    folder = tmp_path_factory.mktemp("worst")
    paths = [folder / f"{write.__name__}.{'png' if write is worst_cases.large_png else 'dcm'}" for write in CASES]
    for write, path in zip(CASES, paths, strict=True):
        write(path)
    return dict(zip(CASES, measured(paths, one_by_one), strict=True))


def test_a_peak_is_that_of_one_file_alone(tmp_path):
    paths = [tmp_path / "large.png", tmp_path / "small.png"]
    Image.new("I;16", (6000, 6000)).save(paths[0])
    Image.new("I;16", (60, 60)).save(paths[1])
    (_, large), (_, small) = measured(paths, one_by_one)
    assert large > small + 50


@pytest.mark.parametrize("write", CASES, ids=lambda write: write.__name__)
def test_a_worst_case_is_read_or_refused_in_little_memory(worst, write):
    found, megabytes = worst[write]
    assert found in (None, "UnreadableImageError", "NoBreastFoundError")
    assert megabytes < LIMIT


def test_all_foreign_and_damaged_files_together_take_little_memory(tmp_path):
    real = sorted(REAL.glob("*.dcm")) if REAL.exists() else []
    outcomes, megabytes = measured([*OTHERS, *real, *damaged_files(tmp_path)])
    assert len(outcomes) > 600
    assert megabytes < LIMIT


@pytest.fixture(scope="module")
def largest():
    """49 million pixels."""
    picture = Image.fromarray(drawn_breast()).resize((7000, 7000))
    return np.round(np.asarray(picture) * 65535).astype(np.uint16)


@pytest.mark.slow
@pytest.mark.parametrize("write", LARGEST, ids=str)
def test_the_largest_images_that_are_read_stay_below_the_limit(tmp_path, largest, write):
    LARGEST[write](tmp_path / "a.dcm", largest, 16, False)
    (found,), megabytes = measured([tmp_path / "a.dcm"])
    assert found is None
    assert megabytes < LIMIT
