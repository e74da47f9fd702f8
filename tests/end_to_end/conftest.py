"""Small phantom sites, written once, and the command line run in this process."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from common.configuration import load_run
from server.initial import initial_model
from server.publish import write_model
from simulations.cli import app

SMALL = ["training.threads=1", "phantom.exams=20", "phantom.unseen_exams=10"]
PLAIN = ["evaluation.explained=0", "evaluation.gallery=0"]
"""Without explanations and pictures, which take half the time of so small a run."""


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training sites and an unseen one, as DICOM files with manifests. Not to be written to.

    pytest-xdist's workers share one: the first makes it, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "phantom"
    with (folder.parent / "phantom.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "UNSEEN" / "phantom.json").exists():
            result = CliRunner().invoke(app, ["data", "tiny", *SMALL, "--out", str(folder)])
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def own_phantom(phantom: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(phantom, tmp_path / "sites"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Call ``xai-sim run tiny`` with a data folder, an output folder and settings; explanations only when asked for.

    Images that a run before has prepared are there already: entries are named by content and settings.
    """
    prepared = tmp_path_factory.mktemp("prepared")

    def call(data: Path, out: Path, *overrides: str) -> Result:
        if not out.exists():
            shutil.copytree(prepared, out / "sites", copy_function=os.link)
        arguments = ["run", "tiny", *SMALL, *PLAIN, *overrides, "--data", str(data), "--out", str(out)]
        result = CliRunner().invoke(app, arguments)
        for cache in out.glob("sites/*/cache"):
            if not (prepared / cache.relative_to(out / "sites")).exists():
                shutil.copytree(cache, prepared / cache.relative_to(out / "sites"), copy_function=os.link)
        return result

    return call


@pytest.fixture(scope="session")
def finished(phantom: Path, run: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run with both baselines. Not to be written to."""
    out = tmp_path_factory.mktemp("finished") / "run"
    result = run(phantom, out, "baselines=[local,pooled]")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published classifier that has not learnt anything: what it says does not matter."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    config = load_run("tiny")
    write_model(path, initial_model(config).state_dict(), config, 3, -0.5)
    return path
