"""The main job: data in, federation, report out; repeatable, killable, resumable."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.configuration import load_run, task_from_yaml
from common.models.classifier import build_classifier
from common.packing import from_bytes
from simulations.cli import app
from tests.end_to_end.conftest import PLAIN, SMALL
from tests.end_to_end.test_bad_input import refused

ROOT = Path(__file__).parents[2]


def lines_of(folder):
    file = folder / "rounds.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def explained(phantom, run, tmp_path_factory):
    """Folder of a finished run with pictures, and explanations every other round. Not to be written to."""
    out = tmp_path_factory.mktemp("explained") / "run"
    more = ["data.validation_fraction=0.5", "evaluation.explain_every=2"]
    result = run(phantom, out, "evaluation.explained=6", "evaluation.gallery=2", *more)
    assert result.exit_code == 0, result.output
    return out


def test_a_run_leaves_everything_that_is_promised(finished):
    for name in ("config.yaml", "summary.json", "evaluation.json", "baselines.json", "sites.json", "report.html"):
        assert (finished / name).stat().st_size > 0, name
    assert (finished / "model-card.md").read_text().startswith("#")
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["task"] == "classifier"
    assert summary["method"] == "fedavg"
    assert summary["rounds"] == 3
    assert set(summary["sites"]) == {"MCS", "TUH"}
    assert set(summary["unseen"]) == {"UNSEEN"}
    for site in (*summary["sites"].values(), *summary["unseen"].values()):
        assert site["auc_low"] <= site["auc"] <= site["auc_high"]
    aucs = [site["auc"] for site in summary["sites"].values()]
    assert summary["mean_auc"] == pytest.approx(sum(aucs) / 2)
    assert summary["worst_site_auc"] == min(aucs)
    assert set(summary["baselines"]["local"]) == {"MCS", "TUH"}
    assert set(summary["baselines"]["pooled"]) == {"MCS", "TUH", "UNSEEN"}
    assert [line["round"] for line in lines_of(finished)] == [1, 2, 3]
    assert summary["bytes_sent"] > 3 * 2 * 1e6


def test_explanations_are_told_where_there_are_enough(explained):
    told = json.loads((explained / "summary.json").read_text())["explanations"]
    assert set(told["UNSEEN"]) == {"hirescam", "gradcam", "shap", "intensity", "random"}
    assert told["MCS"] == {}, "too few views to be told"


def test_explanations_are_told_round_by_round_when_asked_for(explained):
    told = [line["validation"]["TUH"]["explanations"] for line in lines_of(explained)]
    assert [set(scores) for scores in told] == [set(), {"hirescam", "gradcam", "shap", "intensity", "random"}, set()]
    assert told[1]["intensity"]["randomised"] == pytest.approx(1.0)
    page = (explained / "report.html").read_text()
    assert "Round by round" in page and "Does the map ask the model?" in page


def test_the_report_needs_nothing_from_outside(explained):
    page = (explained / "report.html").read_text()
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "data:image/" in page, "the gallery is inside"


def test_the_gallery_lies_at_each_site(explained):
    for site in ("MCS", "TUH", "UNSEEN"):
        folder = explained / "sites" / site / "reports" / "gallery"
        entries = json.loads((folder / "gallery.json").read_text())
        assert entries
        assert all((folder / entry["file"]).read_bytes().startswith(b"\x89PNG") for entry in entries)


def test_the_published_model_stands_alone(finished):
    tensors, metadata = from_bytes((finished / "model.safetensors").read_bytes())
    model = build_classifier(task_from_yaml(metadata["task"]).model, seed=9)
    model.load_state_dict(tensors)
    assert int(metadata["round"]) in (1, 2, 3)


def test_unseen_patients_are_all_tested_and_training_sites_only_in_part(finished):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert evaluation["unseen"]["UNSEEN"]["patients"] == 10
    assert evaluation["sites"]["MCS"]["patients"] == 5  # a quarter of 20


def test_the_same_seed_gives_the_same_model_and_another_does_not(phantom, run, finished, tmp_path):
    assert run(phantom, tmp_path / "again").exit_code == 0
    assert run(phantom, tmp_path / "other", "seed=1").exit_code == 0
    model = (finished / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == model
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != model


def test_killed_in_round_three_and_resumed_gives_the_uninterrupted_model(phantom, finished, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "simulations.cli", "run", "tiny", *SMALL, *PLAIN]
    command += ["baselines=[local,pooled]", "--data", str(phantom), "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        end = time.monotonic() + 120
        while len([line for line in lines_of(out) if line["validated"]]) < 2:
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (out / "checkpoints" / "round-0003.safetensors").exists(), "killed too late to prove anything"
    result = CliRunner().invoke(app, ["resume", str(out)])
    assert result.exit_code == 0, result.output
    assert "resuming after round 2 of 3" in result.output
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert (out / "baselines.json").read_text() == (finished / "baselines.json").read_text()


def test_killed_between_checkpoint_and_validation(finished, tmp_path):
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("model.safetensors", "evaluation.json", "summary.json", "report.html"):
        (out / name).unlink()
    lines = (out / "rounds.jsonl").read_text().splitlines(keepends=True)
    (out / "rounds.jsonl").write_text("".join(lines[:2]))  # the third line is written after the checkpoint
    assert CliRunner().invoke(app, ["resume", str(out)]).exit_code == 0
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert lines_of(out)[2]["validation"] == json.loads(lines[2])["validation"]


def test_disk_full_while_a_checkpoint_is_written_then_space_and_resume(phantom, run, finished, tmp_path, monkeypatch):
    out, real = tmp_path / "out", os.fsync

    def full(handle):
        if (out / "rounds.jsonl").exists() and len((out / "rounds.jsonl").read_text().splitlines()) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        refused(run(phantom, out), "StorageError", 21, "No space left on device", "free some space")
    assert (out / "checkpoints" / "round-0001.safetensors").exists()
    assert CliRunner().invoke(app, ["resume", str(out)]).exit_code == 0
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_a_finished_run_is_not_overwritten(phantom, run, finished):
    before = (finished / "model.safetensors").stat().st_mtime_ns
    result = run(phantom, finished)
    assert result.exit_code == 22
    assert "already holds a run" in result.output
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


def test_a_method_is_a_row(phantom, run, tmp_path):
    result = run(phantom, tmp_path / "prox", "method=fedprox", "federation.rounds=1")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "prox" / "summary.json").read_text())["method"] == "fedprox"


def test_help_has_examples():
    for command in ("run", "resume", "data"):
        assert "xai-sim" in CliRunner().invoke(app, [command, "--help"]).output
    assert load_run("tiny").description in CliRunner().invoke(app, ["scenarios"]).output
