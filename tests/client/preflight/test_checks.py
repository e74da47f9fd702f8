"""Every defect planted in a clean site is found under its own code, with its file, and nothing else is."""

import shutil

import numpy as np
import pytest

from client.preflight.finding import KINDS, Severity
from tests.client.preflight.conftest import LESION
from tests.common.imaging.mammograms import dicom, drawn_breast

ALWAYS = {"few-malignant", "enriched"}
"""Findings that even the clean site has: it is small, and a third of its breasts are malignant."""


def found(result):
    """Codes beyond those of the clean site, with the files and details of each."""
    return {
        item.code: [(one.file, one.detail) for one in item.affected]
        for item in result.findings
        if item.code not in ALWAYS
    }


def files(result, code):
    return [file for file, _ in found(result)[code]]


def test_a_clean_site_is_ready(hospital):
    result = hospital.check()
    assert result.ready and found(result) == {}
    assert result.inventory.images == result.inventory.listed_images == 24
    assert (result.inventory.patients, result.inventory.exams, result.inventory.breasts) == (12, 12, 12)
    assert result.inventory.breasts_by_label == {"normal": 8, "benign": 0, "malignant": 4}
    assert result.inventory.images_by["view"] == {"CC": 12, "MLO": 12}
    assert result.inventory.images_by["machine"] == {"Maker One": 24}
    assert result.inventory.images_by["spacing"] == {"0.8 mm": 24}
    assert result.inventory.images_by["boxes"] == {"known to have none": 16, "with boxes": 8}
    assert sum(part["breasts"] for part in result.inventory.splits.values()) == 12
    assert result.resources.seconds_per_round > 0 and result.resources.peak_memory_bytes > 0


def test_private_training_is_tried_as_it_will_be(hospital):
    """Steps are those of patients, three at a time, twice over; delta fits all of them, if not the few of the trial."""
    private = ["privacy.unit=patient", "privacy.epsilon=8", "privacy.patients_per_step=3", "model.norm=group"]
    result = hospital.check(*private, "privacy.delta=0.07", "training.local_epochs=2", "training.batch_size=2")
    trained = result.inventory.splits["train"]["patients"]
    assert result.resources.steps_per_round == 2 * -(-trained // 3) and result.resources.seconds_per_round > 0


def test_all_wrong_rows_are_told_at_once_and_the_rest_is_examined(hospital):
    hospital.rows[0]["label"] = "cancer"
    hospital.rows[2]["laterality"] = "X"
    hospital.rows[5]["boxes"] = "nonsense"
    hospital.rows[7]["label"] = "malignant"  # the other view of p03 says malignant too; p03 itself is right
    hospital.rows[9]["label"] = "benign"
    result = hospital.check()
    details = " ".join(detail for _, detail in found(result)["manifest"])
    assert not result.ready and len(found(result)["manifest"]) == 4
    for words in ("label 'cancer' is unknown", "laterality 'X'", "boxes cannot be read", "both normal and benign"):
        assert words in details
    assert result.inventory.listed_images == 24 - 3 - 2


def test_unusable_files_are_told_apart_from_empty_pictures(hospital):
    (hospital.folder / "images/p01-CC.dcm").write_bytes(b"nothing")
    (hospital.folder / "images/p02-CC.dcm").unlink()
    dicom(np.zeros((240, 180), np.uint16)).save_as(hospital.folder / "images/p04-CC.dcm", enforce_file_format=True)
    result = hospital.check()
    assert files(result, "unreadable") == ["images/p01-CC.dcm", "images/p02-CC.dcm"]
    assert files(result, "no-breast") == ["images/p04-CC.dcm"]
    assert not result.ready and result.inventory.images == 21


def test_what_a_run_skips_is_a_warning(hospital):
    (hospital.folder / "images/p01-CC.dcm").write_bytes(b"nothing")
    result = hospital.check("data.unreadable=skip")
    assert result.ready and files(result, "unreadable") == ["images/p01-CC.dcm"]


def box(x0, y0, x1, y1):
    return [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": "mass"}]


def test_boxes_outside_image_and_breast(hospital):
    """The drawn breast reaches from x 0 to 100 in a picture of 180 by 240."""
    hospital.add("far", boxes=box(170, 100, 190, 120), label="malignant", seed=50)
    hospital.add("mirrored", boxes=box(120, 100, 140, 120), label="malignant", seed=51)
    hospital.add("corner", boxes=box(2, 2, 12, 12), label="malignant", seed=52)
    hospital.add("edge", boxes=box(85, 110, 103, 130), label="malignant", seed=53)
    result = hospital.check()
    assert files(result, "box-outside-image") == ["images/far-CC.dcm"]
    (mirrored, corner) = found(result)["box-outside-breast"]
    assert mirrored[0] == "images/mirrored-CC.dcm" and mirrored[1].endswith("mirrored it would fit")
    assert corner[0] == "images/corner-CC.dcm" and "mirrored" not in corner[1]


def test_boxes_on_normal_breasts(hospital):
    hospital.add("odd", boxes=LESION, seed=50)
    assert files(hospital.check(), "box-on-normal") == ["images/odd-CC.dcm"]


def test_malignant_breasts_without_boxes_are_noted(hospital):
    hospital.add("plain", label="malignant", seed=50)
    hospital.rows[-1]["boxes"] = ""
    result = hospital.check()
    assert found(result)["boxes-unknown"] == [("", "breast plain/plain/L")] and result.ready


def test_the_same_picture_under_two_patients_is_a_leak_whatever_its_file(hospital):
    copy = hospital.add("twin", seed=0, PatientID="p00", PatientName="Name^p00")
    header = dicom(np.round(drawn_breast(seed=0) * 4095).astype(np.uint16), InstitutionName="elsewhere")
    header.save_as(copy, enforce_file_format=True)
    result = hospital.check()
    ((_, detail),) = found(result)["leak-same-picture"]
    assert "images/p00-CC.dcm" in detail and "images/twin-CC.dcm" in detail and not result.ready


def test_the_same_picture_twice_for_one_patient(hospital):
    shutil.copy(hospital.folder / "images/p00-CC.dcm", hospital.folder / "images/again.dcm")
    hospital.rows.append(hospital.rows[0] | {"file": "images/again.dcm"})
    result = hospital.check()
    assert files(result, "duplicate") == ["images/p00-CC.dcm"] and result.ready


@pytest.mark.parametrize(
    ("splits", "code"), [(("train", "test"), "leak-same-person"), (("test", "test"), "same-person")]
)
def test_one_person_under_two_identifiers(hospital, splits, code):
    for number, split in enumerate(splits):
        hospital.add(f"alias{number}", seed=50 + number, PatientID="77", PatientName="Döe^Jané")
        hospital.rows[-1]["split"] = split
    result = hospital.check()
    ((_, detail),) = found(result)[code]
    assert "alias0" in detail and "alias1" in detail
    assert result.ready == (code == "same-person") and len(found(result)) == 1


def test_two_persons_under_one_identifier(hospital):
    hospital.add("p00", "ML", label="malignant", boxes=LESION, seed=50, PatientID="someone", PatientName="else")
    assert found(hospital.check())["several-persons"] == [("", "patient p00")]


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("laterality", {"ImageLaterality": "R"}),
        ("view", {"ViewPosition": "MLO"}),
        ("not-screening", {"Modality": "US"}),
        ("not-screening", {"PartialView": "YES"}),
        ("burnt-in", {"BurnedInAnnotation": "YES"}),
        ("spacing-implausible", {"ImagerPixelSpacing": ["0.05", "0.05"]}),
        ("spacing-implausible", {"ImagerPixelSpacing": ["5", "5"]}),
        ("spacing-implausible", {"ImagerPixelSpacing": ["0.8", "1.2"]}),
        ("spacing-unknown", {"ImagerPixelSpacing": None}),
        ("mixed-intents", {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationshipSign": -1}),
    ],
)
def test_headers_against_manifest_and_picture(hospital, code, tags):
    hospital.add("odd", seed=50, **tags)
    result = hospital.check()
    assert files(result, code) == ["images/odd-CC.dcm"] and result.ready
    assert set(found(result)) == {code}


def test_a_header_with_the_wrong_polarity_is_believed_and_told(hospital):
    """Air becomes bright, so what is taken for the breast is the frame: both are told."""
    hospital.add("odd", seed=50, PhotometricInterpretation="MONOCHROME1")
    result = hospital.check()
    assert files(result, "polarity") == ["images/odd-CC.dcm"] and "inverted" not in found(result)


def test_a_picture_stored_inverted_without_a_word_in_its_header_is_noted(hospital):
    path = hospital.add("dark", seed=50, Modality="OT")
    pixels = 4095 - np.round(drawn_breast(seed=50) * 4095).astype(np.uint16)
    dicom(pixels, Modality="OT", ImagerPixelSpacing=["0.8", "0.8"]).save_as(path, enforce_file_format=True)
    result = hospital.check()
    assert files(result, "inverted") == ["images/dark-CC.dcm"] and "polarity" not in found(result)


def test_a_missing_spacing_is_an_error_where_the_run_needs_one(hospital):
    hospital.add("odd", seed=50, ImagerPixelSpacing=None)
    result = hospital.check("imaging.spacing_mm=3")
    assert files(result, "spacing-missing") == ["images/odd-CC.dcm"] and not result.ready


def test_a_speck_of_a_breast(hospital):
    path = hospital.add("speck", seed=50)
    pixels = np.round(drawn_breast(reach=28, half_height=24) * 4095).astype(np.uint16)
    dicom(pixels, ImagerPixelSpacing=["2", "2"]).save_as(path, enforce_file_format=True)
    assert files(hospital.check(), "breast-implausible") == ["images/speck-CC.dcm"]


def test_too_few_patients_and_one_class(hospital):
    hospital.rows = [row for row in hospital.rows if row["label"] == "normal"][:6]
    result = hospital.check()
    assert {"too-few-patients", "one-class", "one-class-split"} <= {item.code for item in result.findings}
    headline = next(item.headline for item in result.findings if item.code == "too-few-patients")
    assert headline == "too few patients: 3 usable patients, 8 are needed"
    assert result.resources.seconds_per_round is None


def test_errors_come_first(hospital):
    hospital.rows[0]["label"] = "cancer"
    hospital.add("odd", seed=50, BurnedInAnnotation="YES")
    severities = [list(Severity).index(item.severity) for item in hospital.check().findings]
    assert severities == sorted(severities) and severities[0] == 0


def test_every_kind_of_finding_says_what_it_means_and_what_to_do():
    for code, kind in KINDS.items():
        assert kind.what and kind.meaning.endswith(".") and kind.do.endswith("."), code
