"""What a node says of itself, in two small files: what it does (its executor), and how it is (its supervisor)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from client.node.home import SiteHome
from common.adapters import adapter_of
from common.locking import is_held

STATE = "XAI_NODE_STATE"
"""Environment variable that tells the SuperNode's process the site's state folder."""


@dataclass(frozen=True)
class Doing:
    """A moment of the executor."""

    what: str = "starting"
    run: str = ""
    round: int = 0
    rounds: int = 0
    since: float = 0.0
    """Seconds since the epoch."""
    seconds_left: float | None = None
    """Of the run, from the pace of its rounds so far; ``None`` before the second round."""

    def line(self) -> str:
        """As a person reads it: ``training round 3 of 20, 4 min left``."""
        text = self.what
        if self.round and self.rounds:
            text += f" round {self.round} of {self.rounds}"
        if self.seconds_left is not None:
            text += f", {self.seconds_left / 60:.0f} min left"
        return text


@dataclass(frozen=True)
class NodeStatus:
    """``status.json``: the node, as a person or a monitor reads it."""

    state: str
    """``examining`` (its data, before it connects), ``connecting``, ``connected``, ``unreachable`` (no way to the
    coordinator) or ``stopping``."""
    address: str
    doing: str
    version: str
    restarts: int
    problem: str
    since: float
    """When ``state`` became what it is, seconds since the epoch."""


def read_activity(path: Path) -> Doing:
    """What the executor was doing when it last wrote; before it has written, it is starting."""
    try:
        return adapter_of(Doing).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Doing()


def describe(status: NodeStatus) -> str:
    """One line: ``connected to fl.example.org:8443, training round 3 of 20, 4 min left``."""
    if status.state == "examining":
        return f"examining {status.doing}"
    where = "connected to" if status.state == "connected" else f"{status.state},"
    problem = f" ({status.problem})" if status.problem else ""
    return f"{where} {status.address}{problem}, {status.doing}"


def read_status(home: SiteHome) -> NodeStatus | None:
    """What a running node last wrote; ``None`` when none runs."""
    if not is_held(home.lock):
        return None
    try:
        return adapter_of(NodeStatus).validate_json(home.status_file.read_bytes())
    except (OSError, ValidationError):
        return None
