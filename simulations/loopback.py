"""A whole deployed federation on this machine's loopback: server, nodes, keys and TLS, for a simulation's sites."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

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
def loopback(
    folder: Path,
    sites: Mapping[str, Site],
    host: str = "127.0.0.1",
    through: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[FederationHome]:
    """Found a federation in ``folder``, enrol and connect all ``sites``, and stop everything at the end.

    What an earlier call left in ``folder`` is made anew; the sites' prepared images are kept.

    Args:
        folder: of the federation.
        sites: by name.
        host: address of this machine that the server listens on.
        through: by site, words in front of its node's command, as ``ip netns exec NAME``; without: none.

    Raises:
        QuorumError: a node does not come up; its log says why.
    """
    shutil.rmtree(folder, ignore_errors=True)
    home = FederationHome(folder)
    found(home, FederationSettings("loopback", host, free_port(), host, list(sites)))
    children = [_child("server", folder / "log", "server.cli", "start", "--home", str(folder))]
    for name, site in sites.items():
        state = SiteHome(site.state)
        state.settings_file.unlink(missing_ok=True)
        _, request = enrol(home.kits / f"{name}.kit.yaml", name, site.data, state)
        admit(home, request, lambda _: True)
        node = _child(name, state.logs, "client.cli", "--site", name, "--state", str(site.state), "--accept-findings")
        node.command = [*through.get(name, ()), *node.command]
        children.append(node)
    try:
        for child in children:
            child.start()
        wait_until_online(home, list(sites), children)
        yield home
    finally:
        for child in reversed(children):
            child.ask_to_stop()
        for child in reversed(children):
            child.stop(GRACE_SECONDS)


def _child(name: str, logs: Path, module: str, *arguments: str) -> Child:
    return Child(name, [sys.executable, "-P", "-m", module, *arguments], logs / "command.log")


def wait_until_online(home: FederationHome, sites: Iterable[str], children: Sequence[Child] = ()) -> None:
    """Wait until all ``sites`` are connected.

    Raises:
        QuorumError: they are not within :data:`JOINING_SECONDS`, or one of ``children`` has ended.
    """
    end = time.monotonic() + JOINING_SECONDS
    while True:
        status = read_status(home)
        missing = set(sites) - {site.site for site in status.sites if site.status == "online"} if status else set(sites)
        if not missing:
            return
        dead = [child.name for child in children if not child.alive]
        if dead or time.monotonic() > end:
            names = ", ".join(dead or sorted(missing))
            raise QuorumError("the federation on loopback did not come up", where=names, do=f"see {home.logs}")
        time.sleep(0.2)
