"""Trainings in processes that take one after the other: what one of them does to the rest."""

from multiprocessing.context import SpawnProcess

import numpy as np
import pytest

from common import progress
from common.configuration import load_run
from common.errors import CheckpointError
from common.metrics.paired import Answers
from simulations.comparison.answers import write_answers
from simulations.comparison.plan import Training
from simulations.comparison.processes import carry_out_all

ANSWERS = {"MCS": Answers(np.array(["A", "B"]), np.array([0, 1]), np.array([-1.0, 1.0]))}


def training(way, folder):
    return Training(
        way, 0, load_run("tiny", []), folder, folder / way, folder / way / "answers.npz", (("MCS", "test"),)
    )


def test_a_process_goes_on_after_a_training_that_failed_and_another_takes_over_when_it_died(tmp_path, monkeypatch):
    ways = ["finished", "damaged", "finished after", "killing", "finished at last"]
    asked = [training(way, tmp_path) for way in ways]
    for one in asked:
        if "finished" in one.way:
            write_answers(one.answers, ANSWERS)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "answers.npz").write_bytes(b"no archive")
    (tmp_path / "killing").write_text("a file where its folder should be")
    said, started, start = [], [], SpawnProcess.start
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(SpawnProcess, "start", lambda process: (started.append(process), start(process)))
    with pytest.raises(CheckpointError):
        carry_out_all(asked, tmp_path / "cache", at_once=2)
    assert len(said) == 5
    assert len(started) <= 3, "two, and one in the place of that which died"
    assert sum("AUC  MCS 1.000" in line for line in said) == 3
    assert sum("damaged, seed 0" in line and "failed" in line for line in said) == 1
    assert sum("the process of killing, seed 0 ended with code 1" in line for line in said) == 1
