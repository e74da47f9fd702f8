"""A manifest is read into breasts, and what cannot be true is refused by file, line and advice."""

import json
from pathlib import Path

import pytest

from common.data.manifest import read_manifest
from common.errors import (
    BoxOutsideImageError,
    EmptySiteError,
    ManifestError,
    MissingColumnError,
    PatientInTwoSplitsError,
    UnknownLabelError,
)
from common.imaging.box import Box
from tests.common.data.conftest import COLUMNS, row, write_manifest

REAL = Path("../shared/data/sites")
BOX = {"x0": 1, "y0": 2, "x1": 30, "y1": 40, "label": "mass", "type": "spiculated"}


def test_views_of_one_breast_are_joined(tmp_path):
    rows = [
        row("p1", "L", "cc", "Malignant", boxes=json.dumps([BOX]), density="C"),
        row("p1", "R", "CC"),
        row("p1", "L", "MLO", "malignant", boxes=""),
        row("p2", "Left", "AT", "benign", split="val"),
    ]
    manifest = read_manifest(write_manifest(tmp_path, rows, (*COLUMNS, "density")), "TUH")
    first, second, third = manifest.breasts
    assert (manifest.site, manifest.patients) == ("TUH", ["p1", "p2"])
    assert [view.view for view in first.views] == ["CC", "MLO"] and [view.line for view in first.views] == [2, 4]
    assert (first.label, first.target, first.density, first.device) == ("malignant", 1, "C", "m1")
    assert first.views[0].boxes == (Box(1, 2, 30, 40, "mass"),)
    assert first.views[1].boxes is None and second.views[0].boxes == ()  # unknown is not none
    assert first.views[0].file == tmp_path / "images" / "p1-L-cc.png"
    assert (third.laterality, third.target, third.split) == ("L", 0, "validation")
    assert len({breast.key for breast in manifest.breasts}) == 3


def test_two_exams_of_a_patient_are_two_units(tmp_path):
    rows = [row(), row(exam_id="p1-2", file="later.png", label="malignant")]
    assert [breast.target for breast in read_manifest(write_manifest(tmp_path, rows), "TUH").breasts] == [0, 1]


def test_labels_may_be_empty_where_they_are_not_needed_but_not_wrong(tmp_path):
    rows = [row("p1", label=""), row("p2", file="b.png", label="malignant")]
    found = read_manifest(write_manifest(tmp_path, rows), "TUH", unlabelled=True).breasts
    assert [(breast.label, breast.target) for breast in found] == [("", 0), ("malignant", 1)]
    with pytest.raises(UnknownLabelError, match="maligant"):
        read_manifest(write_manifest(tmp_path, [row(label="maligant")]), "TUH", unlabelled=True)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), (";", "utf-8-sig")])
def test_spreadsheets_ways_of_writing_csv(tmp_path, delimiter, encoding):
    folder = write_manifest(tmp_path, [row(boxes=json.dumps([BOX]))], delimiter=delimiter, encoding=encoding)
    assert read_manifest(folder, "TUH").breasts[0].views[0].boxes == (Box(1, 2, 30, 40, "mass"),)
    assert read_manifest(folder / "manifest.csv", "TUH").patients == ["p1"]


@pytest.mark.parametrize("column", COLUMNS[:8])
def test_every_needed_column_is_asked_for(tmp_path, column):
    folder = write_manifest(tmp_path, [row()], [name for name in COLUMNS if name != column])
    with pytest.raises(MissingColumnError, match=column):
        read_manifest(folder, "TUH")


def test_a_misspelt_column_is_pointed_at(tmp_path):
    columns = ["lateralty" if name == "laterality" else name for name in COLUMNS]
    with pytest.raises(MissingColumnError, match="'lateralty' looks like 'laterality'"):
        read_manifest(write_manifest(tmp_path, [row()], columns), "TUH")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"label": "maligant"}, UnknownLabelError, "did you mean 'malignant'"),
        ({"label": ""}, UnknownLabelError, "normal, benign, malignant"),
        ({"laterality": "B"}, ManifestError, "neither L nor R"),
        ({"patient_id": ""}, ManifestError, "'patient_id' is empty"),
        ({"file": ""}, ManifestError, "'file' is empty"),
        ({"split": "holdout"}, ManifestError, "train, validation or test"),
        ({"boxes": "[{"}, ManifestError, "boxes cannot be read"),
        ({"boxes": '[{"x0": 1}]'}, ManifestError, "boxes cannot be read"),
        ({"boxes": "7"}, ManifestError, "boxes cannot be read"),
        ({"boxes": json.dumps([BOX | {"x1": 1}])}, BoxOutsideImageError, "empty or inverted"),
        ({"boxes": json.dumps([BOX | {"y1": 0}])}, BoxOutsideImageError, "empty or inverted"),
        ({"boxes": json.dumps([BOX | {"x0": -5}])}, BoxOutsideImageError, "begins outside"),
        ({"boxes": json.dumps([BOX | {"x1": float("nan")}])}, BoxOutsideImageError, "empty or inverted"),
        ({"spacing_mm": "wide"}, ManifestError, "no pixel spacing"),
        ({"file": "images/p1-L-CC.png"}, ManifestError, "listed twice"),
    ],
)
def test_impossible_rows_are_refused_with_file_and_line(tmp_path, change, error, says):
    folder = write_manifest(tmp_path, [row(), row("p2") | change], (*COLUMNS, "spacing_mm"))
    with pytest.raises(error) as caught:
        read_manifest(folder, "TUH")
    assert says in str(caught.value) and "manifest.csv:" in caught.value.where
    assert "3" in caught.value.where.rpartition("manifest.csv:")[2] and caught.value.do


def test_views_of_a_breast_must_agree_on_its_label(tmp_path):
    rows = [row(), row(view="MLO", label="malignant")]
    with pytest.raises(ManifestError, match="both normal and malignant") as caught:
        read_manifest(write_manifest(tmp_path, rows), "TUH")
    assert "2 and 3" in caught.value.where


@pytest.mark.parametrize("second", ["test", ""])
def test_a_patient_in_two_splits_is_refused(tmp_path, second):
    rows = [row(split="train"), row(laterality="R", split=second)]
    with pytest.raises(PatientInTwoSplitsError, match="p1"):
        read_manifest(write_manifest(tmp_path, rows), "TUH")


def test_a_site_without_rows_is_refused(tmp_path):
    with pytest.raises(EmptySiteError, match="TUH"):
        read_manifest(write_manifest(tmp_path, []), "TUH")


def test_a_missing_or_binary_manifest_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"manifest\.csv"):
        read_manifest(tmp_path, "TUH")
    (tmp_path / "manifest.csv").write_bytes(b"patient_id,\xff\xfe\x00")
    with pytest.raises(ManifestError):
        read_manifest(tmp_path, "TUH")


@pytest.mark.parametrize(("site", "images", "patients"), [("MIAS", 242, 121), ("RSNA1", 420, 120), ("RSNA2", 539, 173)])
def test_real_manifests_read(site, images, patients):
    if not (REAL / site).exists():
        pytest.skip("the shared real data are not here")
    manifest = read_manifest(REAL / site, site)
    assert sum(len(breast.views) for breast in manifest.breasts) == images
    assert len(manifest.patients) == patients


@pytest.mark.parametrize("place", ["nowhere", "nowhere/list.csv", "."])
def test_a_missing_manifest_says_how_to_get_one(tmp_path, place):
    with pytest.raises(ManifestError, match=r"there is no manifest(.|\n)*xai-client import"):
        read_manifest(tmp_path / place, "TUH")


def test_a_manifest_may_have_another_name(site):
    folder = site("malignant", "normal")
    (folder / "manifest.csv").rename(folder / "export 2025.csv")
    assert len(read_manifest(folder / "export 2025.csv", "TUH").breasts) == 4
