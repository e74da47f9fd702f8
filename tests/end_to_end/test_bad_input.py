"""What a user can get wrong, through the command line: a named error, its exit code, and nothing lost."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from simulations.cli import app
from tests.end_to_end.conftest import SMALL


def edit(site, change):
    """Rewrite a site's manifest row by row."""
    file = site / "manifest.csv"
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = change(rows)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["patient_id"])
        writer.writeheader()
        writer.writerows(rows)


def without(column):
    return lambda rows: [{key: value for key, value in row.items() if key != column} for row in rows]


def with_value(column, value, which=slice(0, 1)):
    def change(rows):
        for row in rows[which]:
            row[column] = value
        return rows

    return change


def refused(result, name, code, *says):
    assert result.exit_code == code, result.output
    assert name in result.output
    for text in says:
        assert text in result.output, result.output
    assert "Traceback" not in result.output


def test_missing_column(own_phantom, run, tmp_path):
    edit(own_phantom / "TUH", without("laterality"))
    refused(run(own_phantom, tmp_path / "out"), "MissingColumnError", 10, "laterality", "TUH/manifest.csv")


def test_unknown_label(own_phantom, run, tmp_path):
    edit(own_phantom / "TUH", with_value("label", "maligant"))
    refused(run(own_phantom, tmp_path / "out"), "UnknownLabelError", 12, "did you mean 'malignant'", "manifest.csv:2")


def test_unreadable_images_are_all_listed(own_phantom, run, tmp_path):
    files = sorted((own_phantom / "TUH" / "dicom").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:900])
    files[5].unlink()
    refused(run(own_phantom, tmp_path / "out"), "UnreadableImageError", 15, files[0].name, files[5].name, "2 images")


def test_unreadable_images_can_be_skipped_and_are_counted(own_phantom, run, tmp_path):
    files = sorted((own_phantom / "TUH" / "dicom").iterdir())
    files[0].write_bytes(b"not a picture")
    result = run(own_phantom, tmp_path / "out", "data.unreadable=skip", "federation.rounds=1")
    assert result.exit_code == 0, result.output
    assert "1 unreadable images skipped" in result.output
    assert json.loads((tmp_path / "out" / "sites.json").read_text())["TUH"]["skipped"] == 1


def test_patient_in_two_splits(own_phantom, run, tmp_path):
    def change(rows):
        for index, row in enumerate(rows):
            row["split"] = "train" if index else "test"
        return rows

    edit(own_phantom / "MCS", change)
    patient = "PatientInTwoSplitsError"
    refused(run(own_phantom, tmp_path / "out"), patient, 14, "test and train", "manifest.csv:2 and 3")


@pytest.mark.parametrize(
    "box", [(10, 10, 5000, 40), (10, 10, 40, 5000), (-4, 10, 40, 40), (40, 10, 10, 40), (10, 10, 10, 40)]
)
def test_box_outside_the_image(own_phantom, run, tmp_path, box):
    text = json.dumps([dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))])
    edit(own_phantom / "MCS", with_value("boxes", text))
    result = run(own_phantom, tmp_path / "out")
    refused(result, "BoxOutsideImageError", 13, "MCS")
    assert "manifest.csv:2" in result.output or "line 2: MCS-000000_L_CC.dcm" in result.output


@pytest.mark.parametrize("label", ["malignant", "benign"])
def test_site_with_one_class(own_phantom, run, tmp_path, label):
    edit(own_phantom / "TUH", with_value("label", label, slice(None)))
    refused(run(own_phantom, tmp_path / "out"), "OneClassSiteError", 17, "site TUH", "sites=[...]")


def test_site_without_patients(own_phantom, run, tmp_path):
    file = own_phantom / "TUH" / "manifest.csv"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    refused(run(own_phantom, tmp_path / "out"), "EmptySiteError", 16, "TUH", "no rows")


def test_a_small_site_is_left_out_and_said_but_refused_when_asked_for(own_phantom, run, tmp_path):
    edit(own_phantom / "TUH", lambda rows: rows[:6])
    result = run(own_phantom, tmp_path / "out", "federation.rounds=1")
    assert result.exit_code == 0, result.output
    assert "TUH is left out: 3 patients, 8 are needed" in result.output
    assert "3 patients" in (tmp_path / "out" / "report.html").read_text()
    refused(run(own_phantom, tmp_path / "asked", "sites=[MCS,TUH]"), "EmptySiteError", 16, "3 patients")


def test_configuration_typing_error(phantom, tmp_path):
    asked = ["run", "tiny", "federation.ronds=3", "--data", str(phantom), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, asked)
    refused(result, "ConfigurationError", 2, "did you mean 'federation.rounds'")
    assert not (tmp_path / "out").exists()


def test_unknown_site_and_missing_folder(phantom, run, tmp_path):
    refused(run(phantom, tmp_path / "out", "sites=[MSC]"), "ConfigurationError", 2, "did you mean 'MCS'")
    refused(run(tmp_path / "none", tmp_path / "out"), "ConfigurationError", 2, "no such data folder")


def test_weights_that_are_not_there(phantom, run, tmp_path):
    result = run(phantom, tmp_path / "out", "model.initial_weights=none.pth")
    refused(result, "WeightsFileError", 20, "none.pth")


def test_resume_of_nothing_and_of_a_changed_configuration(phantom, run, tmp_path):
    refused(CliRunner().invoke(app, ["resume", str(tmp_path)]), "CheckpointError", 22, "no run to resume")
    assert run(phantom, tmp_path / "out", "federation.rounds=1").exit_code == 0
    file = tmp_path / "out" / "config.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 5"))
    result = CliRunner().invoke(app, ["resume", str(tmp_path / "out")])
    refused(result, "CheckpointError", 22, "another configuration")


def test_a_network_that_cannot_be_had_shows_before_anything_is_written(run, tmp_path):
    out = tmp_path / "out"
    for setting in ("model.backbone=resnet9", "model.initial_weights=nowhere.pth"):
        result = CliRunner().invoke(app, ["run", "tiny", setting, "--out", str(out)])
        assert result.exit_code not in (0, 1) and "Traceback" not in result.output, result.output
        assert not out.exists()


def test_a_phantom_run_does_not_train_on_what_else_lies_in_its_folder(own_phantom, tmp_path):
    """The folder may hold sites of an earlier call with other settings."""
    out = tmp_path / "out"
    shutil.copytree(own_phantom, out / "phantom")
    chosen = ["phantom.sites=[MCS]", "phantom.unseen=[]", "federation.rounds=1"]
    result = CliRunner().invoke(app, ["run", "tiny", *SMALL, *chosen, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert list(json.loads((out / "sites.json").read_text())) == ["MCS"]


def test_sites_without_validation_or_test_patients_are_not_at_fault(own_phantom, run, tmp_path):
    """Public sets ship explicit splits: here MCS has no validation patients and TUH no test patients."""

    def split(first, second):
        def change(rows):
            patients = sorted({row["patient_id"] for row in rows})
            for row in rows:
                row["split"] = first if patients.index(row["patient_id"]) % 3 else second
            return rows

        return change

    edit(own_phantom / "MCS", split("train", "test"))
    edit(own_phantom / "TUH", split("train", "validation"))
    result = run(own_phantom, tmp_path / "out", "baselines=[local,pooled]", "federation.rounds=1")
    assert result.exit_code == 0, result.output
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()]
    assert record["quarantined"] == [] and record["validation"]["MCS"]["auc"] is None
    assert (
        "TUH: final test put into quarantine (SiteRefusedError: the site refused with EmptySiteError"
        in (tmp_path / "out" / "report.html").read_text()
    )
    assert json.loads((tmp_path / "out" / "baselines.json").read_text())["pooled"]["TUH"]["value"] is None


def test_a_site_whose_training_patients_are_of_one_class_does_not_stop_the_baselines(own_phantom, run, tmp_path):
    def change(rows):
        for row in rows:
            row["split"] = "test" if row["label"] == "malignant" else "train"
        patients = {row["patient_id"] for row in rows if row["split"] == "test"}
        for row in rows:
            row["split"] = "test" if row["patient_id"] in patients else "train"
        return rows

    edit(own_phantom / "MCS", change)
    result = run(own_phantom, tmp_path / "out", "baselines=[local,pooled]", "federation.rounds=1")
    assert result.exit_code == 0, result.output
    assert "local-MCS: left out, the training patients of MCS are all of one class" in result.output
    assert list(json.loads((tmp_path / "out" / "baselines.json").read_text())["local"]) == ["TUH"]
