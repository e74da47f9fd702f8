"""Kills processes of a deployed federation at random moments and compares the models with an undisturbed run's.

From the repository's root: ``python benchmarks/faults.py [TRIALS] [SEED]``. Prints a Markdown table.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from client.site import Site
from common.configuration import load_run
from common.offline import switch_off
from server.federation.home import FederationHome
from server.federation.runs import OPEN, Run, new_run
from server.history import read_history
from simulations.loopback import loopback
from simulations.phantom.dataset import write_site

SITES = ("MCS", "TUH")
VICTIMS = {
    "SuperLink": "server.federation.superlink",
    "SuperExec": "flower-superexec",
    "ServerApp": "flwr-serverapp",
    "SuperNode of TUH": "client.node.supernode",
    "executor of TUH": "client.node.executor",
    "line to TUH (90 s)": "client.node.supernode",
}
CUT_SECONDS = 90.0
LONGEST_RUN = 900.0
SETTINGS = ["training.threads=1", "federation.rounds=5", "federation.quorum=1.0", "federation.deadline_seconds=400"]


def descendants(pid: int) -> list[int]:
    """Process numbers of everything below a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
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


def disturb(victim: str) -> bool:
    """Kill the victim, or for a cut line let its process stand still for a while; whether it was there."""
    pid = find(VICTIMS[victim], "--site TUH" if "TUH" in victim else "")
    if pid is None:
        return False
    if not victim.startswith("line"):
        os.kill(pid, signal.SIGKILL)
        return True
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(CUT_SECONDS, os.kill, (pid, signal.SIGCONT)).start()
    return True


def carry_out(home: FederationHome, name: str, victim: str = "", delay: float = 0.0) -> tuple[Run, float, str]:
    """One run, disturbed ``delay`` seconds after its first line; returns it, its seconds and when it was hit."""
    run = new_run(home, name, load_run("tiny", [*SETTINGS, f"sites=[{','.join(SITES)}]"]))
    begun, hit = time.monotonic(), "-"
    due = begun + delay
    while run.state.order < run.order.number or run.state.state in OPEN:
        if time.monotonic() - begun > LONGEST_RUN:
            break
        if victim and time.monotonic() >= due and disturb(victim):
            hit = f"{time.monotonic() - begun:.0f} s, after round {run.rounds_done}"
            victim = ""
        time.sleep(0.2)
    return run, time.monotonic() - begun, hit


def digest(run: Run) -> str:
    """SHA-256 of the published model; nothing when there is none."""
    path = run.folder / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def main(trials: int, seed: int) -> None:
    """Run and print."""
    switch_off()
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sites = {
            name: Site(name, write_site(name, 16, place / "hospitals", rows=128).parent, place / "sites" / name)
            for name in SITES
        }
        with loopback(place / "federation", sites) as home:
            undisturbed, seconds, _ = carry_out(home, "undisturbed")
            expected = digest(undisturbed)
            print("| killed | at | ended | missed rounds | seconds | model |\n|---|---|---|---|---|---|")
            print(f"| nothing | - | {undisturbed.state.state} | 0 | {seconds:.0f} | {expected[:12]} |", flush=True)
            for trial in range(trials):
                victim = list(VICTIMS)[trial % len(VICTIMS)]
                run, took, hit = carry_out(home, f"trial-{trial}", victim, generator.uniform(1.0, seconds))
                missed = sum(len(record.missing) for record in read_history(run.folder / "rounds.jsonl"))
                verdict = "the same" if digest(run) == expected else f"other: {digest(run)[:12] or 'none'}"
                state = run.state
                ended = state.state if state.state == "finished" else f"{state.state}: {state.reason}"
                print(f"| {victim} | {hit} | {ended} | {missed} | {took:.0f} | {verdict} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
