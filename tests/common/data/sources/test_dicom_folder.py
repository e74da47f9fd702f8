"""A hospital's own export: the mammograms come back with their labels, everything else with its reason."""

import csv
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from client.importing import describe, import_site
from common.data.manifest import read_manifest
from common.data.sources import SOURCES
from common.data.sources.dicom_folder import NO_IMAGE
from common.data.sources.labels import Unlabelled
from common.errors import (
    BoxOutsideImageError,
    ManifestError,
    MissingColumnError,
    PatientInTwoSplitsError,
    UnknownLabelError,
)
from common.imaging.eligibility import Exclusion, Remark
from common.imaging.reading import read_image
from simulations.phantom.dataset import write_site
from tests.common.data.sources.hospital import changed, coded, export, label_rows, mess, save, write_labels
from tests.common.imaging.damaged import OTHERS, damaged_files


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_site("TUH", 10, folder, rows=128, workers=1)
    breasts = read_manifest(folder, "TUH").breasts
    found = [breast for breast in breasts if all(view.boxes is not None for view in breast.views)]
    assert {breast.label for breast in found} == {"normal", "benign", "malignant"}
    return [replace(breast, patient_id=f"00{number:04d}") for number, breast in enumerate(found, 1)]


@pytest.fixture
def archive(phantom, tmp_path):
    folder = tmp_path / "export"
    placed = export(phantom, folder)
    write_labels(folder, label_rows(phantom, placed))
    return folder, placed


def content(breasts):
    return {
        (breast.patient_id, breast.laterality, view.view): (
            breast.label,
            breast.density,
            None if view.boxes is None else [(box.x0, box.y0, box.x1, box.y1) for box in view.boxes],
        )
        for breast in breasts
        for view in breast.views
    }


def reasons(folder):
    return dict(SOURCES["dicom"].read(folder).left_out)


@pytest.mark.parametrize("exam", ["StudyInstanceUID", "AccessionNumber", "StudyDate"])
def test_from_a_messy_folder_the_same_patients_labels_views_and_boxes_come_back(phantom, archive, tmp_path, exam):
    folder, placed = archive
    expected = mess(folder, placed)
    write_labels(folder, label_rows(phantom, placed, exam))
    site = import_site("dicom", folder, "TUH", tmp_path / "site")
    assert content(site.manifest.breasts) == content(phantom)
    with (tmp_path / "site" / "left-out.csv").open(newline="") as stream:
        assert {row["what"]: row["why"] for row in csv.DictReader(stream)} == expected
    assert site.reasons == Counter(expected.values())
    assert site.remarks == Counter({Remark.BURNT_IN: len(placed)})
    assert "has burnt-in annotation" in describe(site)
    assert (tmp_path / "site" / "remarks.csv").read_text().count(Remark.BURNT_IN) == len(placed)


def test_every_file_is_the_image_of_its_patient_and_tells_exam_device_and_age(phantom, archive, tmp_path):
    folder, _ = archive
    found = SOURCES["dicom"].read(folder).images
    original = {
        (breast.patient_id, view.view): read_image(view.file).pixels for breast in phantom for view in breast.views
    }
    assert len(found) == len(original)
    for image in found:
        header = pydicom.dcmread(image.file)
        assert (read_image(image.file).pixels == original[image.patient_id, image.view]).all()
        assert (image.exam_id, image.device) == (header.StudyInstanceUID, header.ManufacturerModelName)
        assert image.age == str(int(header.PatientAge[:3]))


def test_a_second_exposure_of_a_view_stays(phantom, archive):
    folder, placed = archive
    one = next(iter(placed))
    save(changed(one, AcquisitionTime="120001"), folder / "again")
    before = len(placed)
    assert len(SOURCES["dicom"].read(folder).images) == before + 1


def test_a_raw_image_without_its_presentation_image_stays(phantom, archive):
    folder, placed = archive
    one = next(iter(placed))
    raw = changed(one, PresentationIntentType="FOR PROCESSING", AcquisitionTime="130000")
    one.unlink()
    save(raw, folder / "raw")
    found = SOURCES["dicom"].read(folder)
    assert folder / "raw" in {image.file for image in found.images}


def test_an_implant_that_is_displaced_stays_with_a_remark(archive):
    folder, placed = archive
    one = next(iter(placed))
    save(coded(one, modifier="399209000", BreastImplantPresent="YES", AcquisitionTime="130000"), folder / "displaced")
    assert ("displaced", Remark.IMPLANT_DISPLACED) in SOURCES["dicom"].read(folder).remarks


def patient_of(archive, which=0):
    """Of one patient: the row of her breast, her files."""
    folder, placed = archive
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if not row["image"]]
    row = rows[which]
    return row, [path for path, header in placed.items() if header.PatientID == row["patient_id"]]


def other_exam(archive, files):
    """Give the patient an earlier exam too."""
    folder, _ = archive
    for path in files:
        earlier = changed(path, StudyInstanceUID="1.2.3", AccessionNumber="OLD", StudyDate="20200101")
        save(earlier, folder / "earlier" / path.name)


def test_rows_by_patient_alone_hold_for_her_only_exam(archive):
    folder, _ = archive
    row, files = patient_of(archive)
    write_labels(folder, [{**row, "exam": ""}])
    assert {image.file for image in SOURCES["dicom"].read(folder).images} == set(files)
    other_exam(archive, files)
    found = SOURCES["dicom"].read(folder)
    assert not found.images
    assert Counter(why for _, why in found.left_out)[Unlabelled.WHICH_EXAM] == 2 * len(files)


def test_an_exam_without_a_row_is_left_out_and_dates_may_be_written_as_they_are(archive):
    folder, _ = archive
    row, files = patient_of(archive)
    other_exam(archive, files)
    for date in ("2026-01-01", "2026/01/01", "20260101", "2026.01.01"):
        write_labels(folder, [{**row, "exam": date}])
        found = SOURCES["dicom"].read(folder)
        assert {image.file for image in found.images} == set(files)
        assert Counter(why for _, why in found.left_out)[Unlabelled.EXAM] == len(files)


@pytest.mark.parametrize("label", ["normal", "benign", "malignant"])
def test_a_row_without_a_side_holds_for_both_breasts_only_if_normal(archive, label):
    folder, _ = archive
    row, files = patient_of(archive)
    for path in files:
        side = {"L": "R", "R": "L"}[row["laterality"]]
        save(changed(path, ImageLaterality=side), folder / "other" / path.name)
    write_labels(folder, [{**row, "laterality": "", "label": label}])
    found = SOURCES["dicom"].read(folder)
    if label == "normal":
        assert Counter(image.laterality for image in found.images) == {"L": 2, "R": 2}
        assert {image.label for image in found.images} == {"normal"}
    else:
        assert not found.images
        assert Counter(why for _, why in found.left_out)[Unlabelled.WHICH_BREAST] == 4


def test_what_the_table_does_not_have_is_left_out_by_name_and_rows_without_image_are_listed(archive):
    folder, placed = archive
    row, files = patient_of(archive)
    side = {"L": "R", "R": "L"}[row["laterality"]]
    write_labels(folder, [{**row, "laterality": side}, {**row, "patient_id": "nobody"}])
    found = SOURCES["dicom"].read(folder)
    assert not found.images
    counted = Counter(why for _, why in found.left_out)
    rest = len(placed) - len(files)
    assert counted == {Unlabelled.BREAST: len(files), Unlabelled.PATIENT: rest, NO_IMAGE: 2}
    assert ("labels.csv:2", NO_IMAGE) in found.left_out


def test_of_several_rows_of_a_breast_the_worst_label_counts_and_the_boxes_of_an_image_add_up(archive):
    folder, placed = archive
    row, files = patient_of(archive)
    image = placed[files[0]].SOPInstanceUID
    box = '[{{"x0": {0}, "y0": 1, "x1": 9, "y1": 9}}]'
    rows = [
        {**row, "label": "Benign", "image": image, "boxes": box.format(1)},
        {**row, "label": "MALIGNANT", "image": image, "boxes": box.format(2)},
        {**row, "label": "normal", "image": "gone", "boxes": box.format(3)},
    ]
    write_labels(folder, rows, separator=";")
    found = SOURCES["dicom"].read(folder)
    assert {image.label for image in found.images} == {"malignant"}
    assert {image.file: image.boxes and [box.x0 for box in image.boxes] for image in found.images} == {
        files[0]: [1, 2],
        files[1]: None,
    }
    assert ("labels.csv:4", NO_IMAGE) in found.left_out
    write_labels(folder, [*rows[:2], {**row, "image": files[0].name}])
    (first, _) = SOURCES["dicom"].read(folder).images
    assert first.boxes is None, "one finding without a box: not all boxes are known"


def test_no_boxes_is_told_for_a_whole_breast_and_split_and_density_are_kept(archive):
    folder, _ = archive
    row, _ = patient_of(archive)
    write_labels(folder, [{**row, "boxes": "[]", "split": "test", "density": "C"}])
    for image in SOURCES["dicom"].read(folder).images:
        assert (image.boxes, image.split, image.density) == ((), "test", "C")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"label": "cancer"}, UnknownLabelError, "labels.csv:2"),
        ({"label": ""}, UnknownLabelError, "label ''"),
        ({"laterality": "both"}, UnknownLabelError, "laterality 'both'"),
        ({"patient_id": ""}, ManifestError, "patient_id"),
        ({"boxes": '[{"x0": 1, "y0": 1, "x1": 5, "y1": 5}]'}, ManifestError, "in which image"),
        ({"boxes": "[", "image": "1"}, ManifestError, "boxes cannot be read"),
        ({"boxes": '[{"x0": 5, "y0": 1, "x1": 1, "y1": 5}]', "image": "1"}, BoxOutsideImageError, "inverted"),
        ({"split": "later"}, ManifestError, "split 'later'"),
    ],
)
def test_a_spoilt_row_is_an_error_by_line_and_writes_nothing(archive, tmp_path, change, error, words):
    folder, _ = archive
    row, _ = patient_of(archive)
    write_labels(folder, [{**row, "split": "", "boxes": "", "image": "", **change}])
    with pytest.raises(error, match=words.replace("[", r"\[")):
        import_site("dicom", folder, "TUH", tmp_path / "site")
    assert not (tmp_path / "site" / "manifest.csv").exists()


def test_a_patient_in_two_splits_and_a_missing_column_are_errors(archive, tmp_path):
    folder, _ = archive
    row, files = patient_of(archive)
    other_exam(archive, files)
    write_labels(folder, [{**row, "split": "test"}, {**row, "exam": "OLD", "split": "train"}])
    with pytest.raises(PatientInTwoSplitsError):
        import_site("dicom", folder, "TUH", tmp_path / "site")
    write_labels(folder, [{"patient": "1", "laterality": "L", "label": "normal"}])
    with pytest.raises(MissingColumnError, match="'patient' looks like 'patient_id'"):
        import_site("dicom", folder, "TUH", tmp_path / "site")


def test_an_image_without_a_patient_is_left_out(archive):
    folder, placed = archive
    one = next(iter(placed))
    save(changed(one, PatientID=""), folder / "nobody")
    assert reasons(folder)["nobody"] == Exclusion.NO_PATIENT


def test_a_folder_or_file_that_may_not_be_opened_is_listed(archive):
    folder, placed = archive
    one, two = list(placed)[:2]
    shutil.copytree(one.parent, folder / "closed")
    (folder / "closed").chmod(0)
    two.chmod(0)
    if os.access(folder / "closed", os.R_OK):
        pytest.skip("root may open every folder")
    found = {what: why for what, why in reasons(folder).items() if why != NO_IMAGE}
    (folder / "closed").chmod(0o700)
    assert found == {"closed": Exclusion.CLOSED, two.relative_to(folder).as_posix(): Exclusion.DAMAGED}


def test_every_foreign_and_damaged_file_is_an_image_or_has_its_reason(tmp_path):
    files = damaged_files(tmp_path) + [Path(shutil.copy(path, tmp_path / f"o{path.name}")) for path in OTHERS]
    write_labels(tmp_path, [{"patient_id": "1", "laterality": "L", "label": "normal"}])
    found = SOURCES["dicom"].read(tmp_path)
    left_out = [what for what, why in found.left_out if why != NO_IMAGE]
    kept = [image.file.relative_to(tmp_path).as_posix() for image in found.images]
    assert sorted(left_out + kept) == sorted(path.name for path in set(files))
    assert {why for _, why in found.left_out} - {NO_IMAGE} <= {*Exclusion, *Unlabelled}


def test_pixels_are_not_read(archive):
    """Cut off right behind the header, a file still tells what it is."""
    folder, placed = archive
    before = SOURCES["dicom"].read(folder).images
    for path in placed:
        at = pydicom.dcmread(path).get_item("PixelData").value_tell
        data = path.read_bytes()
        assert at > 132
        path.write_bytes(data[:at])
    assert SOURCES["dicom"].read(folder).images == before


def test_an_import_of_an_import_changes_nothing(archive, tmp_path):
    """The site's own files may lie in the export."""
    folder, _ = archive
    site = import_site("dicom", folder, "TUH", folder / "site")
    text = site.file.read_text()
    again = import_site("dicom", folder, "TUH", folder / "site")
    assert again.file.read_text() == text
    assert again.reasons == {Exclusion.NO_DICOM: 2}  # manifest and remarks
