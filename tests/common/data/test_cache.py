"""A file is decoded once, whoever asks; what is damaged is made anew."""

import os
import shutil

import numpy as np
import pytest

from common.configuration import ImagingConfig
from common.data import cache as cache_module
from common.data.cache import ImageCache
from common.errors import NoBreastFoundError, StorageError, UnreadableImageError
from common.imaging.preprocessing import prepare_image
from tests.common.imaging.mammograms import drawn_breast, write_dicom, write_png

IMAGING = ImagingConfig(height=64, width=48)


@pytest.fixture
def picture(tmp_path):
    return write_png(tmp_path / "a.png", drawn_breast())


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the files that were really decoded."""
    paths = []

    def counting(path, *rest):
        paths.append(path)
        return prepare_image(path, *rest)

    monkeypatch.setattr(cache_module, "prepare_image", counting)
    return paths


def test_pixels_are_the_prepared_ones_memory_mapped(tmp_path, picture):
    image = ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")
    prepared = prepare_image(picture, "L", IMAGING)
    np.testing.assert_array_equal(image.pixels, prepared.pixels.astype(np.float16))
    assert isinstance(image.pixels, np.memmap) and image.geometry == prepared.geometry


def test_a_file_is_decoded_once_and_so_is_its_copy(tmp_path, picture, decoded):
    copy = shutil.copy(picture, tmp_path / "b.png")
    for path in (picture, picture, tmp_path / copy):
        ImageCache(tmp_path / "cache", IMAGING).get(path, "L")
    assert len(decoded) == 1


def test_an_unchanged_file_is_not_even_read_again(tmp_path, picture, decoded):
    ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")
    state = picture.stat()
    picture.write_bytes(bytes(state.st_size))  # other bytes, but size and time as they were
    os.utime(picture, ns=(state.st_atime_ns, state.st_mtime_ns))
    ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")
    assert len(decoded) == 1


def test_a_file_changed_at_the_same_size_is_seen(tmp_path, decoded):
    stored = np.round(drawn_breast() * 4095).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored)
    before, data = path.stat(), bytearray(path.read_bytes())
    cache = ImageCache(tmp_path / "cache", IMAGING)
    first = np.array(cache.get(path, "L").pixels)
    data[-stored.nbytes :] = np.clip(stored + 400 * (stored > 2000), 0, 4095).astype("<u2").tobytes()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    assert (cache.get(path, "L").pixels != first).any() and len(decoded) == 2


def test_a_changed_file_or_another_setting_is_another_entry(tmp_path, picture, decoded):
    first = ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")
    ImageCache(tmp_path / "cache", IMAGING).get(picture, "R")
    ImageCache(tmp_path / "cache", ImagingConfig(height=64, width=48, harmonisation="none")).get(picture, "L")
    write_png(picture, drawn_breast(seed=1))
    changed = ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")
    assert len(decoded) == 4 and (changed.pixels != first.pixels).any()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("kept", [0, 40])
def test_a_damaged_entry_is_made_anew(tmp_path, picture, decoded, suffix, kept):
    cache = ImageCache(tmp_path / "cache", IMAGING)
    whole = np.array(cache.get(picture, "L").pixels)
    (entry,) = (tmp_path / "cache").rglob(f"*{suffix}")
    entry.write_bytes(entry.read_bytes()[:kept])
    np.testing.assert_array_equal(cache.get(picture, "L").pixels, whole)
    assert len(decoded) == 2


@pytest.mark.parametrize("damage", [b"half a dig", b"", bytes(64), b"\xff\xfe" * 32, b"Z" * 64])
def test_a_damaged_note_of_a_source_is_made_anew(tmp_path, picture, decoded, damage):
    cache = ImageCache(tmp_path / "cache", IMAGING)
    cache.get(picture, "L")
    (note,) = (path for path in (tmp_path / "cache" / "sources").rglob("*") if path.is_file())
    note.write_bytes(damage)
    cache.get(picture, "L")
    assert len(decoded) == 1 and len(note.read_text()) == 64


def test_nothing_but_entries_and_notes_is_left(tmp_path, picture):
    cache = ImageCache(tmp_path / "cache", IMAGING)
    cache.get(picture, "L")
    cache.get(picture, "R")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == ["", ".json", ".json", ".npy", ".npy"]
    assert all(not path.name.startswith(".") for path in files)


def test_a_refused_image_leaves_no_entry(tmp_path):
    blank = write_png(tmp_path / "blank.png", np.zeros((64, 48)))
    with pytest.raises(NoBreastFoundError):
        ImageCache(tmp_path / "cache", IMAGING).get(blank, "L")
    assert not [*(tmp_path / "cache").rglob("*.npy"), *(tmp_path / "cache").rglob("*.json")]


def test_spacing_of_the_manifest_is_part_of_the_entry(tmp_path, picture, decoded):
    cache = ImageCache(tmp_path / "cache", ImagingConfig(height=64, width=48, spacing_mm=2.0))
    coarse, fine = cache.get(picture, "L", 1.0), cache.get(picture, "L", 0.5)
    assert coarse.geometry.placed != fine.geometry.placed and len(decoded) == 2


def test_a_cache_that_cannot_be_written_is_a_named_error(tmp_path, picture):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cache"):
        ImageCache(tmp_path / "cache", IMAGING).get(picture, "L")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone\.png"):
        ImageCache(tmp_path / "cache", IMAGING).get(tmp_path / "gone.png", "L")
