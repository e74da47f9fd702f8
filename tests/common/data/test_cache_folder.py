"""A cache stays within its bound, loses only what nobody uses, and says what it holds."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from common.configuration import ImagingConfig
from common.data.cache import ImageCache
from common.data.cache_folder import clear, prune, usage
from common.errors import StorageError
from common.imaging.preprocessing import prepare_image
from tests.common.imaging.mammograms import drawn_breast, write_png

IMAGING = ImagingConfig(height=64, width=48)
DAY = 24 * 3600


@pytest.fixture
def cache(tmp_path):
    """Four prepared images, last used 5, 4, 3 and 2 days ago."""
    images = []
    for number in range(4):
        path = write_png(tmp_path / f"{number}.png", drawn_breast(seed=number))
        images.append(ImageCache(tmp_path / "cache", IMAGING).get(path, "L"))
        days_ago = time.time() - (5 - number) * DAY
        os.utime(images[-1].file.with_suffix(".json"), (days_ago, days_ago))
    return tmp_path / "cache", images


def there(images):
    return [image.file.exists() for image in images]


def test_usage_is_what_the_disk_holds(cache):
    folder, images = cache
    found = usage(folder)
    sizes = [path.stat().st_size for image in images for path in (image.file, image.file.with_suffix(".json"))]
    assert (found.entries, found.bytes) == (4, sum(sizes))
    assert found.settings == {f"64 x 48, local_contrast, version {IMAGING.version}": 4}
    assert found.free_bytes > 0


def test_a_damaged_entry_is_counted_as_such(cache):
    folder, images = cache
    images[0].file.with_suffix(".json").write_text("{")
    assert usage(folder).settings["damaged"] == 1


def test_what_was_not_used_for_longest_goes_first(cache):
    folder, images = cache
    one = usage(folder).bytes // 4
    assert prune(folder, 2 * one + one // 2, keep=()) == 2
    assert there(images) == [False, False, True, True]
    assert usage(folder).bytes <= 2 * one + one // 2


def test_what_the_run_needs_stays_however_old_it_is(cache):
    folder, images = cache
    assert prune(folder, usage(folder).bytes // 2, keep=images[:1]) == 2
    assert there(images) == [True, False, False, True]


def test_what_another_process_used_today_stays(cache, tmp_path):
    folder, images = cache
    ImageCache(folder, IMAGING).get(tmp_path / "0.png", "L")  # looking it up is using it
    prune(folder, 1, keep=())
    assert there(images) == [True, False, False, False]


def test_within_its_bound_nothing_is_deleted(cache):
    folder, images = cache
    assert prune(folder, usage(folder).bytes, keep=()) == 0 and all(there(images))


def test_a_bound_below_what_the_run_needs_is_refused_and_nothing_deleted(cache):
    folder, images = cache
    with pytest.raises(StorageError, match="of this run take"):
        prune(folder, 100, keep=images)
    assert all(there(images))


def test_a_cleared_cache_is_made_anew(cache, tmp_path):
    folder, images = cache
    before = np.array(images[0].pixels)
    assert clear(folder).entries == 4 and not folder.exists()
    assert usage(folder).entries == 0
    np.testing.assert_array_equal(ImageCache(folder, IMAGING).get(tmp_path / "0.png", "L").pixels, before)
    assert clear(tmp_path / "nothing").entries == 0


def test_two_processes_that_build_one_cache_agree(tmp_path):
    paths = [write_png(tmp_path / f"{number}.png", drawn_breast(seed=number)) for number in range(8)]
    shared = ImageCache(tmp_path / "cache", IMAGING)
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        work = [pool.submit(shared.get, path, "L") for path in paths for _ in range(2)]
        images = [item.result() for item in work]
    for number, image in enumerate(images):
        expected = prepare_image(paths[number // 2], "L", IMAGING).pixels.astype(np.float16)
        np.testing.assert_array_equal(image.pixels, expected)
    assert usage(tmp_path / "cache").entries == 8
    assert not [path for path in (tmp_path / "cache").rglob(".*") if path.is_file()]
