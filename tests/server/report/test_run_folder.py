"""A run folder is read into typed records, or refused with the file and the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import CheckpointError, ConfigurationError
from server.report.run_folder import read_run_folder

Change = Callable[[str, Callable[[Any], object]], None]


def test_everything_is_read(example_run: Path) -> None:
    run = read_run_folder(example_run)
    assert run.trained() == ["MCS", "TUH", "RAW", "CR"] and run.unseen() == ["UNSEEN"]
    assert [entry.round for entry in run.rounds] == list(range(1, 9))
    assert run.rounds[2].quarantined[0].error == "WireError" and run.rounds[4].missing == ["CR"]
    assert run.baselines is not None and set(run.baselines.local) == set(run.trained())
    assert len(run.galleries["MCS"]) == 4


@pytest.mark.parametrize("name", ["sites.json", "evaluation.json", "rounds.jsonl"])
def test_a_missing_file_is_named(example_run: Path, name: str) -> None:
    (example_run / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_run_folder(example_run)


def test_a_missing_configuration_is_named(example_run: Path) -> None:
    (example_run / "config.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"config\.yaml"):
        read_run_folder(example_run)


def test_a_torn_line_is_named_with_its_number(example_run: Path) -> None:
    path = example_run / "rounds.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:50], *lines[5:]]))
    with pytest.raises(CheckpointError, match="line 5"):
        read_run_folder(example_run)


def test_a_wrong_value_is_named_with_its_key(example_run: Path, change: Change) -> None:
    change("sites.json", lambda found: found["TUH"].update(patients="many"))
    with pytest.raises(CheckpointError, match=r"TUH\.patients"):
        read_run_folder(example_run)


def test_files_of_different_runs_are_refused(example_run: Path, change: Change) -> None:
    change("sites.json", lambda found: found.pop("TUH"))
    with pytest.raises(CheckpointError, match="TUH"):
        read_run_folder(example_run)


def test_a_gallery_cannot_reach_outside_its_folder(example_run: Path, change: Change) -> None:
    change("sites/MCS/reports/gallery/gallery.json", lambda found: found[0].update(file="../../../../secret.png"))
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_run_folder(example_run)
