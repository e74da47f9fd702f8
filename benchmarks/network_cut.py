"""Cuts the line between a hospital and the coordinator in the middle of a run, and looks at what becomes of both.

From the repository's root, as root: ``python benchmarks/network_cut.py [SECONDS]`` (90). Needs ``ip`` (Debian:
iproute2) and the right to make network namespaces. The site TUH gets a namespace of its own, behind a router in
another; the line is cut at the router, so that the site's packets vanish without a word, as in a half-open
connection. Prints a Markdown table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults import SITES, begin, is_open, judge, write_sites

from client.node.home import SiteHome
from client.node.status import read_status
from client.site import Site
from common.offline import switch_off
from server.federation.home import FederationHome
from server.federation.runs import Run
from server.history import read_history
from simulations.loopback import loopback, wait_until_online

SITE, ROUTER = "xai-site", "xai-router"
COORDINATOR = "10.231.77.1"
LINE = f"""
netns add {ROUTER}
link add xai-host type veth peer name host netns {ROUTER}
link add xai-line type veth peer name line netns {SITE}
link set xai-line netns {ROUTER} name site
address add {COORDINATOR}/24 dev xai-host
link set xai-host up
-n {ROUTER} address add 10.231.77.2/24 dev host
-n {ROUTER} address add 10.231.78.1/24 dev site
-n {ROUTER} link set host up
-n {ROUTER} link set site up
-n {SITE} address add 10.231.78.2/24 dev line
-n {SITE} link set lo up
-n {SITE} link set line up
-n {SITE} route add default via 10.231.78.1
route add 10.231.78.0/24 via 10.231.77.2
netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=1
"""


def ip(words: str, *, check: bool = True) -> None:
    """Call ``ip``."""
    subprocess.run(["ip", *words.split()], check=check, capture_output=not check)


@contextmanager
def line() -> Iterator[None]:
    """A way from this machine through a router to a namespace, inside the block."""
    ip(f"netns add {SITE}")  # fails when another one runs, and then nothing of that is touched
    try:
        for words in LINE.strip().splitlines():
            ip(words)
        yield
    finally:
        for words in (f"netns delete {SITE}", f"netns delete {ROUTER}", "link delete xai-host"):
            ip(words, check=False)


@contextmanager
def watched(site: Site, seen: list[tuple[float, str]]) -> Iterator[None]:
    """Note the states of a site's node with their times inside the block."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            status = read_status(SiteHome(site.state))
            state = status.state if status else "not running"
            if not seen or seen[-1][1] != state:
                seen.append((time.monotonic(), state))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def without(run: Run) -> str:
    """Rounds whose training went on without TUH."""
    records = read_history(run.folder / "rounds.jsonl")
    return ", ".join(str(record.round) for record in records if "TUH" in record.missing) or "none"


def attempt(home: FederationHome, site: Site, name: str, seconds: float, *settings: str) -> list[str]:
    """One run whose line is cut once a round is done; returns a row of the table."""
    wait_until_online(home, SITES)
    begun, cut = time.monotonic(), 0.0
    seen: list[tuple[float, str]] = []
    with ExitStack() as stack:
        stack.callback(ip, f"-n {ROUTER} link set site up")
        stack.enter_context(watched(site, seen))
        run = begin(home, name, *settings)
        while is_open(run) and time.monotonic() < begun + 900:
            if seconds and not cut and run.rounds_done >= 1:
                time.sleep(0.5)
                ip(f"-n {ROUTER} link set site down")
                cut = time.monotonic()
            if cut and time.monotonic() > cut + seconds:
                ip(f"-n {ROUTER} link set site up")
                seconds = 0.0
            time.sleep(0.1)
        done = time.monotonic() - begun
        if seconds and cut:  # the run ended while the line was still cut
            time.sleep(max(0.0, cut + seconds - time.monotonic()))
            ip(f"-n {ROUTER} link set site up")
        wait_until_online(home, SITES)
        time.sleep(1)
    said = ", ".join(f"{state} at {moment - cut:.0f}" for moment, state in seen if moment > cut) if cut else "-"
    trial = judge(run, [], f"{cut - begun:.0f} s" if cut else "-", done)
    return [name, trial.hit, trial.ended, without(run), f"{done:.0f}", trial.model[:12], said]


def main(seconds: float) -> None:
    """Run and print."""
    switch_off()
    with tempfile.TemporaryDirectory() as folder, line():
        sites = write_sites(Path(folder))
        through = {"TUH": ["ip", "netns", "exec", SITE]}
        with loopback(Path(folder) / "federation", sites, COORDINATOR, through) as home:
            print("| run | cut at | ended | rounds without TUH | seconds | model | TUH said, seconds from the cut |")
            print("|---|---|---|---|---|---|---|")
            for name, length, settings in (
                ("undisturbed", 0.0, ["federation.quorum=1.0"]),
                ("waits-for-all", seconds, ["federation.quorum=1.0"]),
                ("goes-on-without", seconds, ["federation.quorum=0.5", "federation.deadline_seconds=60"]),
            ):
                print(f"| {' | '.join(attempt(home, sites['TUH'], name, length, *settings))} |", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 90.0)
