"""Seconds of a round of a deployed federation on loopback: three sites, TLS, models of real size, hardly any training.

From the repository's root: ``python benchmarks/round_speed.py [BACKBONE | retinanet-BACKBONE ...]``. Prints a Markdown
table. Everything is real but the data: eight phantom patients a site at 32 x 32 pixels (a detector: 64 x 48), one step
a round. What the sites say they trained for is shown apart; processor time is that of all processes.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from faults import descendants

from client.site import Site
from common.configuration import load_run
from common.offline import switch_off
from server.federation.home import FederationHome
from server.federation.runs import OPEN, new_run
from server.history import RoundRecord, read_history
from simulations.loopback import loopback
from simulations.phantom.dataset import write_site

SITES = ("MCS", "RAW", "TUH")
ROUNDS = 5
SETTINGS = [
    f"sites=[{','.join(SITES)}]",
    f"federation.rounds={ROUNDS}",
    "federation.quorum=1.0",
    "federation.selection=last",
    "imaging.height=32",
    "imaging.width=32",
    "training.batch_size=256",
    "training.threads=1",
    "evaluation.explained=0",
    "evaluation.gallery=0",
]


DETECTOR = [
    "task=detector",
    "imaging.height=64",
    "imaging.width=48",
    "detector.smallest_mm=25",
    "data.test_fraction=0.3",
]


def processor_seconds() -> float:
    """Processor time that this process and everything below it have used."""
    ticks = 0
    for pid in (os.getpid(), *descendants(os.getpid())):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[11:15])  # own and of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def rounds_of(home: FederationHome, backbone: str) -> tuple[list[RoundRecord], float, float]:
    """Run a federation of this backbone; returns its rounds, processor seconds of one, and the time besides them."""
    kind, _, name = backbone.rpartition("-")
    more = DETECTOR if kind == "retinanet" else []
    run = new_run(home, backbone, load_run("tiny", [*SETTINGS, *more, f"model.backbone={name}"]))
    begun = time.monotonic()
    used: dict[int, float] = {}
    while run.state.order < run.order.number or run.state.state in OPEN:
        used.setdefault(run.rounds_done, processor_seconds())
        time.sleep(0.1)
    seconds = time.monotonic() - begun
    if run.state.state != "finished":
        raise SystemExit(f"{backbone}: {run.state.state}: {run.state.reason}")
    records = read_history(run.folder / "rounds.jsonl")
    busy = (used[ROUNDS] - used[1]) / (ROUNDS - 1)
    return records, busy, seconds - sum(record.seconds for record in records)


def main(backbones: list[str]) -> None:
    """Run and print."""
    switch_off()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sites = {
            name: Site(name, write_site(name, 8, place / "hospitals", rows=128).parent, place / "sites" / name)
            for name in SITES
        }
        print(
            "| model | MB down | MB up | s a round | of it training | processor s a round | besides the rounds, s |\n"
            "|---|---|---|---|---|---|---|"
        )
        with loopback(place / "federation", sites) as home:
            for backbone in backbones:
                records, busy, besides = rounds_of(home, backbone)
                later = records[1:]  # in the first round sites import libraries and read images
                down, up = 2 * later[0].bytes_sent / 3e6, later[0].bytes_received / 3e6
                whole = statistics.median(record.seconds for record in later)
                training = statistics.median(max(site.seconds for site in record.train.values()) for record in later)
                print(
                    f"| {backbone} | {down:.0f} | {up:.0f} | {whole:.1f} | {training:.1f} | {busy:.1f} "
                    f"| {besides:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:] or ["resnet8", "resnet18", "retinanet-resnet50"])
