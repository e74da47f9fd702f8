"""``xai-sim cross-validate``: every patient is tested on once, finished folds are kept."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from simulations.cli import app
from tests.end_to_end.conftest import PLAIN, SMALL


@pytest.fixture(scope="module")
def two_folds(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "runs"
    arguments = ["cross-validate", "tiny", "--folds", "2", "--data", str(phantom), "--out", str(out), *SMALL, *PLAIN]
    arguments += ["federation.rounds=1", "baselines=[local,pooled]"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out, arguments, result.output


def test_every_patient_is_tested_on_once(two_folds):
    out, _, output = two_folds
    reports = [json.loads((out / f"fold-{fold}" / "evaluation.json").read_text())["sites"] for fold in (1, 2)]
    assert [report["MCS"]["patients"] for report in reports] == [10, 10]
    found = json.loads((out / "cross-validation.json").read_text())["AUC"]
    assert set(found) == {"federated", "MCS alone", "TUH alone", "pooled"}
    diseased = [report["MCS"]["malignant"] for report in reports]
    values = [report["MCS"]["auc"]["value"] for report in reports]
    assert found["federated"]["MCS"]["value"] == pytest.approx(np.average(values, weights=diseased))
    assert "| federated |" in output and "fold 2 of 2" in output


def test_finished_folds_are_kept(two_folds):
    out, arguments, _ = two_folds
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/model.safetensors")}
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("fold-*/model.safetensors")} == before


def test_fractions_that_leave_nothing_are_refused(tmp_path):
    arguments = ["cross-validate", "tiny", "--folds", "2", "--out", str(tmp_path), "data.validation_fraction=0.5"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0 and "leave nothing to train on" in result.output
