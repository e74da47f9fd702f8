"""A whole deployed federation on this machine's loopback: server, nodes, keys and TLS, for a simulation's sites."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client.node.enrolment import enrol
from client.node.home import SiteHome
from client.site import Site
from common import progress
from common.errors import QuorumError, RunStateError
from common.processes import Child, free_port
from server.federation.founding import found
from server.federation.home import FederationHome, FederationSettings
from server.federation.registry import admit
from server.federation.runs import Run
from server.federation.status import read_status
from server.federation.watching import follow

FOLDER, RUN = "federation", "run"
JOINING_SECONDS = 300.0
GRACE_SECONDS = 30.0


def run_deployed(folder: Path, sites: Mapping[str, Site]) -> None:
    """Carry out the run whose ``config.yaml`` lies in ``folder`` over a federation made for it.

    Raises:
        QuorumError: a node does not come up; its log says why.
        RunStateError: the run did not finish; its reason is given.
    """
    with loopback(folder / FOLDER, sites) as home:
        home.runs.mkdir(exist_ok=True)
        (home.runs / RUN).symlink_to(folder.resolve())
        run = Run(RUN, home.runs / RUN)
        run.give("run")
        for line in follow(home, run):
            progress.say(line)
        state = run.state
    if state.state != "finished":
        raise RunStateError(
            f"the run ended as {state.state}: {state.reason}", where=str(folder), do=f"see {folder / FOLDER / 'log'}"
        )


@contextmanager
def loopback(folder: Path, sites: Mapping[str, Site]) -> Iterator[FederationHome]:
    """Found a federation in ``folder``, enrol and connect all ``sites``, and stop everything at the end.

    What an earlier call left in ``folder`` is made anew; the sites' prepared images are kept.

    Raises:
        QuorumError: a node does not come up; its log says why.
    """
    shutil.rmtree(folder, ignore_errors=True)
    home = FederationHome(folder)
    found(home, FederationSettings("loopback", "127.0.0.1", free_port(), "127.0.0.1", list(sites)))
    children = [_child("server", folder / "log", "server.cli", "start", "--home", str(folder))]
    for name, site in sites.items():
        state = SiteHome(site.state)
        state.settings_file.unlink(missing_ok=True)
        _, request = enrol(home.kits / f"{name}.kit.yaml", name, site.data, state)
        admit(home, request, lambda _: True)
        children.append(_child(name, state.logs, "client.cli", "--site", name, "--state", str(site.state)))
    try:
        for child in children:
            child.start()
        _wait_until_online(home, children, list(sites))
        yield home
    finally:
        for child in reversed(children):
            child.ask_to_stop()
        for child in reversed(children):
            child.stop(GRACE_SECONDS)


def _child(name: str, logs: Path, module: str, *arguments: str) -> Child:
    return Child(name, [sys.executable, "-P", "-m", module, *arguments], logs / "command.log")


def _wait_until_online(home: FederationHome, children: list[Child], sites: list[str]) -> None:
    end = time.monotonic() + JOINING_SECONDS
    while True:
        status = read_status(home)
        online = {site.site for site in status.sites if site.status == "online"} if status else set()
        if online >= set(sites):
            return
        dead = [child for child in children if not child.alive]
        if dead or time.monotonic() > end:
            missing = ", ".join(child.name for child in dead) or ", ".join(set(sites) - online)
            raise QuorumError("the federation on loopback did not come up", where=missing, do=f"see {home.logs}")
        time.sleep(0.2)
