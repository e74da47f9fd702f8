"""Kills processes of a deployed federation at random moments and compares the models with an undisturbed run's.

From the repository's root: ``python benchmarks/faults.py [KILLS] [SEED]``. Three kills a run. Prints a Markdown table
with a line a run, and at the end a line for each kind of process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.node.home import SiteHome
from client.site import Site
from common import audit
from common.configuration import load_run
from common.offline import switch_off
from server.federation.home import FederationHome
from server.federation.runs import OPEN, Run, new_run
from server.history import read_history
from simulations.loopback import loopback, wait_until_online
from simulations.phantom.dataset import write_site

SITES = ("MCS", "TUH")
VICTIMS = {
    "SuperLink": "server.federation.superlink",
    "SuperExec": "flower-superexec",
    "ServerApp": "flwr-serverapp",
    "SuperNode of TUH": "client.node.supernode",
    "executor of TUH": "client.node.executor",
}
KILLS_A_RUN = 3
LONGEST_RUN = 1800.0
SETTINGS = [
    *("training.threads=1", "federation.rounds=5", "federation.deadline_seconds=600"),
    *("model.backbone=resnet8", "evaluation.explained=0", "evaluation.gallery=0"),
]


def descendants(pid: int) -> list[int]:
    """Process numbers of everything below a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in task.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def find(words: str, also: str) -> int | None:
    """The process below this one whose command holds ``words``, and whose own or parent's command ``also``."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            above = Path(f"/proc/{parent}/cmdline").read_text().replace("\0", " ")
            if words in command and also in command + above:
                return pid
    return None


def kill(victim: str) -> bool:
    """SIGKILL; whether the victim was there."""
    pid = find(VICTIMS[victim], "--site TUH" if "TUH" in victim else "")
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    return pid is not None


@dataclass
class Trial:
    """One run and what became of it."""

    killed: tuple[str, ...]
    hit: str
    ended: str
    missed: int
    """Answers of a site that a round went on without."""
    seconds: float
    model: str
    """SHA-256 of the published model."""


def begin(home: FederationHome, name: str, *settings: str) -> Run:
    """Order a run of five rounds over both sites."""
    return new_run(home, name, load_run("tiny", [*SETTINGS, f"sites=[{','.join(SITES)}]", *settings]))


def is_open(run: Run) -> bool:
    """Whether the run is still to be worked on."""
    state = run.state
    return state.order < run.order.number or state.state in OPEN


def judge(run: Run, killed: Sequence[str], hit: str, seconds: float) -> Trial:
    """What became of a run."""
    records, state, path = read_history(run.folder / "rounds.jsonl"), run.state, run.folder / "model.safetensors"
    ended = state.state if not state.reason else f"{state.state}: {state.reason}"
    missed = sum(2 * len(SITES) - len(record.train) - len(record.validation) for record in records)
    model = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"
    return Trial(tuple(killed), hit, ended, missed, seconds, model)


def attempt(home: FederationHome, name: str, plan: Sequence[tuple[float, str]] = ()) -> Trial:
    """One run; each victim of the plan is killed so many seconds after the order, or as soon as it is there."""
    wait_until_online(home, SITES)
    run = begin(home, name, "federation.quorum=1.0")
    begun, waiting = time.monotonic(), sorted(plan)
    killed: list[str] = []
    hit: list[str] = []
    while is_open(run) and time.monotonic() < begun + LONGEST_RUN:
        for delay, victim in list(waiting):
            if time.monotonic() >= begun + delay and kill(victim):
                waiting.remove((delay, victim))
                killed.append(victim)
                hit.append(f"{victim} at {time.monotonic() - begun:.0f} s, after round {run.rounds_done}")
        time.sleep(0.1)
    return judge(run, killed, "; ".join(hit), time.monotonic() - begun)


def write_sites(place: Path) -> dict[str, Site]:
    """Two small phantom sites."""
    return {
        name: Site(name, write_site(name, 16, place / "hospitals", rows=128).parent, place / "sites" / name)
        for name in SITES
    }


def main(kills: int, seed: int) -> None:
    """Run and print."""
    switch_off()
    generator = random.Random(seed)
    done: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        sites = write_sites(Path(folder))
        with loopback(Path(folder) / "federation", sites) as home:
            undisturbed = attempt(home, "undisturbed")
            length, model = undisturbed.seconds, undisturbed.model
            print("| killed | ended | missed answers | seconds | model |\n|---|---|---|---|---|")
            print(f"| nothing | {undisturbed.ended} | 0 | {length:.0f} | {model[:12]} |", flush=True)
            while sum(len(trial.killed) for trial in done) < kills:
                victims = generator.choices(list(VICTIMS), k=KILLS_A_RUN)
                plan = [(generator.uniform(0.0, length), victim) for victim in victims]
                trial = attempt(home, f"trial-{len(done)}", plan)
                done.append(trial)
                length = min(length, trial.seconds)  # the machine may have become quieter: a kill must find its run
                verdict = "the same" if trial.model == model else f"other: {trial.model[:12]}"
                print(f"| {trial.hit} | {trial.ended} | {trial.missed} | {trial.seconds:.0f} | {verdict} |", flush=True)
            logs = [home.audit, *(SiteHome(site.state).audit for site in sites.values())]
            print(f"\naudit logs: {', '.join(f'{len(audit.read(log))} lines' for log in logs)}, chains intact\n")
    print("| killed | times | of them in runs that finished with the same bits |\n|---|---|---|")
    for victim in VICTIMS:
        times = dict.fromkeys((True, False), 0)
        for trial in done:
            times[trial.ended == "finished" and trial.model == model] += trial.killed.count(victim)
        print(f"| {victim} | {sum(times.values())} | {times[True]} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
