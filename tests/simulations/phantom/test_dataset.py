"""A phantom site on disk: same bytes whatever the order, size, workers or interruptions; errors by name."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from common.errors import ConfigurationError
from simulations.phantom.dataset import MANIFEST_COLUMNS, write_site
from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.patient import draw_patient
from simulations.phantom.sites import SITES

ROWS = 128


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every picture and mask of a site."""
    files = sorted([*folder.glob("dicom/*.dcm"), *folder.glob("masks/*.png")])
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def manifest(folder: Path) -> list[dict[str, str]]:
    """Rows of a site's manifest."""
    with (folder / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight exams of TUH."""
    folder = tmp_path_factory.mktemp("tuh")
    write_site("TUH", 8, folder, rows=ROWS, workers=1)
    return folder


def test_a_smaller_site_is_the_beginning_of_a_larger_one(site: Path, tmp_path: Path) -> None:
    write_site("TUH", 3, tmp_path, rows=ROWS, workers=1)
    small = digests(tmp_path)
    assert len([name for name in small if name.endswith(".dcm")]) == 6
    assert small.items() <= digests(site).items()
    assert manifest(tmp_path) == manifest(site)[:6]


def test_two_workers_write_the_same_bytes_as_one(site: Path, tmp_path: Path) -> None:
    write_site("TUH", 8, tmp_path, rows=ROWS, workers=2)
    assert digests(tmp_path) == digests(site)
    assert (tmp_path / "manifest.csv").read_bytes() == (site / "manifest.csv").read_bytes()


def test_skin_markers_are_worn_by_malignant_patients_alone_and_change_nothing_else(site: Path, tmp_path: Path) -> None:
    write_site("TUH", 8, tmp_path, rows=ROWS, workers=1, skin_markers=True)
    marked = 0
    for before, after in zip(manifest(site), manifest(tmp_path), strict=True):
        assert before == after
        plain, ringed = (pydicom.dcmread(folder / after["file"]).pixel_array for folder in (site, tmp_path))
        assert (plain != ringed).any() == (after["label"] == "malignant")
        marked += after["label"] == "malignant"
    assert 0 < marked < 16


def test_another_dataset_seed_gives_other_pictures(site: Path, tmp_path: Path) -> None:
    write_site("TUH", 1, tmp_path, dataset_seed=1, rows=ROWS, workers=1)
    assert set(digests(tmp_path).values()).isdisjoint(digests(site).values())


def test_an_interrupted_site_continues_and_mends_damaged_files(site: Path, tmp_path: Path) -> None:
    class PowerCutError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        write_site("TUH", 4, tmp_path, rows=ROWS, workers=1, progress=interrupt)
    assert not (tmp_path / "phantom.json").exists()
    first = sorted(tmp_path.glob("dicom/*.dcm"))
    first[0].write_bytes(first[0].read_bytes()[:1000])
    untouched = first[2].stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    write_site("TUH", 4, tmp_path, rows=ROWS, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (1, 4)
    assert seen[-1] == (4, 4)
    assert first[2].stat().st_mtime_ns == untouched
    assert digests(tmp_path).items() <= digests(site).items()


def test_a_complete_site_is_reused_untouched(site: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in site.rglob("*") if file.is_file()}
    assert write_site("TUH", 8, site, rows=ROWS, workers=1) == site / "manifest.csv"
    assert {file: file.stat().st_mtime_ns for file in site.rglob("*") if file.is_file()} == before


def test_boxes_are_the_bounds_of_the_masks_inside_the_stored_image(site: Path) -> None:
    rows = manifest(site)
    assert set(rows[0]) == set(MANIFEST_COLUMNS)
    with_box = [row for row in rows if json.loads(row["boxes"] or "[]")]
    assert with_box
    for row in with_box:
        box = json.loads(row["boxes"])[0]
        image = pydicom.dcmread(site / row["file"]).pixel_array
        mask = np.asarray(Image.open(site / row["file"].replace("dicom", "masks").replace(".dcm", ".png"))) > 0
        assert mask.shape == image.shape
        lit = np.argwhere(mask)
        assert (box["y0"], box["x0"]) == tuple(lit.min(axis=0))
        assert (box["y1"], box["x1"]) == tuple(lit.max(axis=0) + 1)
        assert box["type"] == "mass"
        assert box["label"] == row["label"]
    assert all(row["boxes"] == "[]" for row in rows if row["label"] == "normal")


def test_label_noise_changes_the_record_but_not_the_truth() -> None:
    drawn = [draw_patient(SITES["CR"], i, 0, DEFAULT) for i in range(2000)]
    malignant = [p for p in drawn if p.label == "malignant"]
    missed = np.mean([p.recorded != "malignant" for p in malignant])
    assert abs(len(malignant) / 2000 - 0.46) < 4 * (0.46 * 0.54 / 2000) ** 0.5
    assert abs(missed - 0.05) < 4 * (0.05 * 0.95 / len(malignant)) ** 0.5


@pytest.mark.parametrize(
    ("name", "options"), [("MGH", {}), ("MCS", {"severity": 2.5}), ("MCS", {"rows": 64}), ("MCS", {"dataset_seed": -1})]
)
def test_impossible_requests_are_named_and_write_nothing(name: str, options: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        write_site(name, 1, tmp_path / "site", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "site").exists()
