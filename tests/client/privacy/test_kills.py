"""Thirty rounds under more than fifty kills: the ledger never says less than what the noisy steps really cost."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from collections import Counter

import numpy as np
import pytest

from client.privacy import ledger, spending
from client.privacy.accounting import epsilon_of
from client.privacy.ledger import LEDGER
from client.privacy.plan import Steps
from client.privacy.spending import Asked
from common import audit
from common.atomic import write_text
from common.configuration import load_run, task_of

ROUNDS, KILLS, DELTA = 30, 50, 1e-4
LINE = len("20.0 1.0\n")
PEOPLE = [f"p{number}" for number in range(40)]
SETTINGS = ["privacy.unit=patient", "privacy.noise_multiplier=20", "privacy.patients_per_step=50", "model.norm=group",
            "privacy.accountant=rdp", "training.local_epochs=4", f"privacy.delta={DELTA}"]  # fmt: skip
TASK = task_of(load_run("tiny", SETTINGS))
DATA = np.random.default_rng(0).normal(size=(len(PEOPLE), 3))


def log(path, text):
    """Another hand's book of what is really done, on the disk before it is done."""
    with path.open("a") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def noisy_step(weights, noise):
    """Mean of clipped gradients of a least-squares fit, and noise."""
    gradients = DATA * (DATA @ weights - 1.0)[:, None]
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients / np.maximum(1.0, norms)
    return weights - 0.1 * (clipped.sum(0) + np.random.default_rng().normal(0, noise, 3)) / len(PEOPLE)


def work(folder, name, rounds):
    """A site's process: goes on after its last finished round, as after a resume."""
    done = folder / f"done-{name}"
    weights = np.zeros(3)
    for number in range(int(done.read_text()) + 1 if done.exists() else 1, rounds + 1):
        asked = Asked(name, number, rounds)
        planned = spending.plan(folder, PEOPLE, TASK, asked)
        spending.begin(folder, TASK, asked, planned)
        for _ in range(planned.steps.steps):
            log(folder / "really", f"{planned.steps.noise_multiplier} {planned.steps.sample_rate}")
            weights = noisy_step(weights, planned.steps.noise_multiplier)
        write_text(done, str(number))


def really(folder):
    """Noisy steps that were really taken, by what an accountant needs."""
    path = folder / "really"
    lines = path.read_text().splitlines() if path.exists() else []
    counted = Counter(tuple(map(float, line.split())) for line in lines)
    return [Steps(noise, rate, number) for (noise, rate), number in counted.items()]


def at_work(folder, process, steps, deadline=60.0):
    """Wait until so many more noisy steps were taken, or the process has ended."""
    end, before = time.monotonic() + deadline, size(folder)
    while process.is_alive() and size(folder) < before + steps:
        assert time.monotonic() < end
        time.sleep(0.0005)


def size(folder):
    return (folder / "really").stat().st_size // LINE if (folder / "really").exists() else 0


@pytest.mark.slow
def test_under_kills_at_random_moments_the_ledger_never_says_too_little(tmp_path):
    """Some moments after up to six noisy steps of a process: in the steps, and while the next line is written."""
    context, moments = multiprocessing.get_context("fork"), random.Random(7)
    kills, finished = 0, []
    for name in (f"{number:032x}" for number in itertools.count()):
        while True:
            process = context.Process(target=work, args=(tmp_path, name, ROUNDS))
            process.start()
            if kills < KILLS:
                at_work(tmp_path, process, moments.randint(1, 6))
                process.join(moments.uniform(0, 0.02))
            else:
                process.join(120)
            if process.is_alive():
                assert process.pid is not None and kills < KILLS
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                kills += 1
            lines = ledger.read(tmp_path)
            booked, taken = sum(line.steps for line in lines), sum(item.steps for item in really(tmp_path))
            assert booked >= taken, f"after kill {kills}"
            if process.exitcode == 0:
                finished.append(name)
                break
        if kills >= KILLS:
            break
    assert kills >= KILLS and finished
    lines = ledger.read(tmp_path)
    for accountant in ("rdp", "prv"):
        told = epsilon_of([line.noisy for line in lines], DELTA, accountant)
        cost = epsilon_of(really(tmp_path), DELTA, accountant)
        assert cost <= told, "and the price of the kills is what was begun and not ended"
    last = [line for line in lines if line.run == finished[-1]]
    assert {line.round for line in last} == set(range(1, ROUNDS + 1))
    assert len(lines) > ROUNDS * len(finished), "rounds were begun again"
    assert [entry.number for entry in audit.read(tmp_path / LEDGER, torn=True)]


def test_without_kills_ledger_opacus_and_the_steps_taken_say_the_same(tmp_path):
    work(tmp_path, "a" * 32, ROUNDS)
    lines = ledger.read(tmp_path)
    assert sum(line.steps for line in lines) == sum(item.steps for item in really(tmp_path)) == ROUNDS * 4
    told = epsilon_of([line.noisy for line in lines], DELTA)
    assert abs(told - epsilon_of(really(tmp_path), DELTA)) < 1e-6
