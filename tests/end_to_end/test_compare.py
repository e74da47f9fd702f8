"""``xai-sim compare``: a tiny comparison from beginning to end, stopped, killed and gone on with."""

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

from common.metrics.classification import auc
from server.publish import publish
from simulations.cli import app
from simulations.comparison.answers import read_answers
from tests.end_to_end.conftest import PLAIN, SMALL

ROOT = Path(__file__).parents[2]
FAST = [*SMALL, *PLAIN, "federation.rounds=1", "baselines=[local]"]


def command(data, out, *more):
    asked = ["--methods", "fedavg,ditto", "--seeds", "0,1", "--jobs", "1"]
    return ["compare", "tiny", *FAST, *asked, "--data", str(data), "--out", str(out), *more]


def figures(out):
    """All that does not depend on how long things took."""
    found = json.loads((out / "compare.json").read_text())
    for way in found["ways"].values():
        for run in way["runs"]:
            del run["seconds"]
    return found


@pytest.fixture(scope="module")
def compared(phantom, tmp_path_factory):
    """Folder of a comparison that was stopped in its second run and gone on with, and what was said."""
    out = tmp_path_factory.mktemp("compared") / "study"
    with pytest.MonkeyPatch.context() as patch:
        begun = []

        def stopped_the_second_time(*arguments):
            begun.append(arguments)
            if len(begun) == 2:
                raise KeyboardInterrupt
            publish(*arguments)

        patch.setattr("server.app.publish", stopped_the_second_time)
        first = CliRunner().invoke(app, command(phantom, out))
    assert first.exit_code == 130, first.output
    assert "1 of 8" in first.output and "the same command goes on" in first.output
    assert not (out / "compare.json").exists()
    kept = (out / "runs/fedavg/seed-0/model.safetensors").stat().st_mtime_ns
    result = CliRunner().invoke(app, command(phantom, out))
    assert result.exit_code == 0, result.output
    assert (out / "runs/fedavg/seed-0/model.safetensors").stat().st_mtime_ns == kept, "finished ones are kept"
    return out, result.output


def test_every_run_is_an_ordinary_one_and_every_figure_is_of_the_same_patients(compared):
    out, output = compared
    assert "8 of 8" in output
    found = figures(out)
    assert list(found["ways"]) == ["fedavg", "ditto", "ditto, personal", "local"]
    for way in ("fedavg", "ditto"):
        for seed in (0, 1):
            run = out / "runs" / way / f"seed-{seed}"
            assert (run / "report.html").exists() and (run / "model-card.md").exists()
            evaluation, answers = json.loads((run / "evaluation.json").read_text()), read_answers(run / "answers.npz")
            told = evaluation["sites"] | evaluation["unseen"]
            assert {site: len(one.targets) for site, one in answers.items()} == {
                site: one["breasts"] for site, one in told.items()
            }
            for site, one in answers.items():
                assert auc(one.targets, one.scores) == pytest.approx(told[site]["auc"]["value"])


def test_personal_models_answer_as_they_did_when_they_were_measured(compared):
    out, _ = compared
    run = out / "runs/ditto/seed-1"
    told = json.loads((run / "evaluation.json").read_text())["sites"]
    for site, one in read_answers(run / "answers-personal.npz").items():
        assert auc(one.targets, one.scores) == pytest.approx(told[site]["personal"]["auc"]["value"])


def test_images_are_prepared_once_for_all(compared):
    out, _ = compared
    caches = [path for path in out.rglob("cache") if not path.is_symlink()]
    assert caches == [out / "cache"]
    assert len(list((out / "cache/MCS").glob("??/*.npy"))) == 40


def test_a_finished_comparison_is_kept_and_another_method_may_be_added(compared, phantom):
    out, _ = compared
    before, page = figures(out), (out / "compare.html").read_text()
    assert "<script" not in page and "ditto, personal" in page
    result = CliRunner().invoke(app, command(phantom, out))
    assert result.exit_code == 0 and figures(out) == before


def test_other_settings_in_the_same_folder_are_refused(compared, phantom):
    out, _ = compared
    result = CliRunner().invoke(app, command(phantom, out, "training.batch_size=3"))
    assert result.exit_code == 22 and "training.batch_size = 16, now 3" in result.output


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--methods", "fedavg,fedbm"], 2, "fedbn"),
        (["--seeds", "0"], 2, "two or more different seeds"),
        (["sites=[MCS,MGH]"], 2, "there is no site 'MGH'"),
        (["--new-patients"], 2, "cannot be drawn anew"),
        (["--leave-one-out", "sites=[MCS]"], 2, "left out"),
        (["data.minimum_patients=50"], 16, "no site can be trained on"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(phantom, tmp_path, more, code, message):
    result = CliRunner().invoke(app, command(phantom, tmp_path / "out", *more))
    assert result.exit_code == code and message in result.output
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.slow
def test_killed_with_two_runs_at_a_time_nothing_is_left_running_and_the_result_is_the_same(compared, phantom, tmp_path):
    out = tmp_path / "killed"
    arguments = command(phantom, out)
    arguments[arguments.index("--jobs") + 1] = "2"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "simulations.cli", *arguments]
    with subprocess.Popen(
        call, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        end = time.monotonic() + 300
        while not list(
            out.glob("**/answers.npz")
        ):  # one has come to its end in a process of its own, the other is at work
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: its processes must see for themselves
    again = CliRunner().invoke(app, command(phantom, out))  # one at a time: the same figures
    assert again.exit_code == 0, again.output
    assert figures(out) == figures(compared[0])
    shutil.rmtree(out)
