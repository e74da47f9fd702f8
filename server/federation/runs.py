"""Runs at the coordinator: what was ordered (by commands) and what became of it (by the server), on disk.

``order.json`` is written by commands alone, ``state.json`` by the server alone, so neither can
overwrite the other's. Ordering again (``resume``) raises the order's number.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from common import audit
from common.adapters import adapter_of
from common.atomic import write_bytes, write_text
from common.configuration import RunConfig, to_yaml
from common.errors import RunStateError
from common.locking import is_held
from common.names import check_name
from server.federation.home import FederationHome

CONFIG, ORDER, STATE, FAILURE, PROGRESS = "config.yaml", "order.json", "state.json", "failure.json", "progress.log"
LAST_RESULT = "model-card.md"
"""What a run writes last (:func:`server.app.write_results`): with it, it is finished."""
SURVEY, SURVEY_MODEL, SURVEY_PAGE = "survey.json", "compared-by.safetensors", "shift.html"
"""Of a run that trains nothing and shows how far the sites are apart: what makes it one, the classifier by whose
features sites are compared, and what it writes last."""
LOCK = "run.lock"
"""Held by the process that works on the run."""
OPEN = ("queued", "running")
"""States in which the server still has work to do."""


@dataclass(frozen=True)
class Order:
    """What the coordinator wants: ``run`` or ``stop``."""

    wanted: str
    number: int
    time: float


@dataclass(frozen=True)
class State:
    """What became of an order."""

    state: str = "queued"
    """``queued``, ``running``, ``finished``, ``paused`` (quorum lost, disk full), ``failed`` or ``stopped``."""
    order: int = 0
    """Number of the order that this answers."""
    flower_run: int = 0
    """Flower's number of the attempt."""
    attempts: int = 0
    """Attempts without a new round since the last one."""
    rounds_before: int = 0
    """Rounds that were done when the attempt began."""
    reason: str = ""
    since: float = 0.0


@dataclass(frozen=True)
class Failure:
    """The named error that ended an attempt."""

    error: str
    what: str
    where: str
    do: str


@dataclass(frozen=True)
class Run:
    """One run folder."""

    name: str
    folder: Path

    @property
    def order(self) -> Order:
        """The last order."""
        return _read(self.folder / ORDER, Order, Order("stop", 0, 0.0))

    @property
    def state(self) -> State:
        """The server's last word."""
        return _read(self.folder / STATE, State, State())

    @property
    def rounds_done(self) -> int:
        """Lines of ``rounds.jsonl``."""
        path = self.folder / "rounds.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def is_survey(self) -> bool:
        """Whether it only asks how far the sites are apart."""
        return (self.folder / SURVEY).exists()

    @property
    def last_result(self) -> Path:
        """With this file it is finished."""
        return self.folder / (SURVEY_PAGE if self.is_survey else LAST_RESULT)

    @property
    def page(self) -> Path:
        """What a coordinator wants to read when it is finished."""
        return self.folder / (SURVEY_PAGE if self.is_survey else "report.html")

    @property
    def is_worked_on(self) -> bool:
        """Whether a process of this machine works on it."""
        return is_held(self.folder / LOCK)

    def failure(self) -> Failure | None:
        """The named error of the last attempt."""
        path = self.folder / FAILURE
        return _read(path, Failure, Failure("", "", "", "")) if path.exists() else None

    def write(self, state: State) -> None:
        """Record what became of the order."""
        write_text(self.folder / STATE, json.dumps(asdict(state), indent=1))

    def give(self, wanted: str) -> Order:
        """Write a new order."""
        order = Order(wanted, self.order.number + 1, time.time())
        write_text(self.folder / ORDER, json.dumps(asdict(order)))
        return order


R = TypeVar("R", Order, State, Failure)


def _read(path: Path, kind: type[R], absent: R) -> R:
    if not path.exists():
        return absent
    try:
        return adapter_of(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunStateError(
            f"{path.name} is damaged", where=str(path), do="delete it and order the run again: xai-server resume"
        ) from error


def new_run(home: FederationHome, name: str, config: RunConfig) -> Run:
    """Make a run folder and order the run.

    Raises:
        RunStateError: there is a run of this name.
    """
    run = _new(home, name, config)
    audit.append(home.audit, "run ordered", run=name, sites=",".join(config.sites), method=config.method.name)
    run.give("run")
    return run


def new_survey(home: FederationHome, name: str, config: RunConfig, model: Path | None) -> Run:
    """Make the folder of a look at the shift between sites and order it.

    Args:
        home: of the federation.
        name: of the folder.
        config: which sites are asked, how long they are waited for, and how images are prepared.
        model: a published classifier, of which the folder gets a copy.

    Raises:
        RunStateError: there is a run of this name.
        StorageError: it cannot be written.
    """
    run = _new(home, name, config)
    if model is not None:
        write_bytes(run.folder / SURVEY_MODEL, model.read_bytes())
    sites = [*config.sites, *config.unseen]
    write_text(run.folder / SURVEY, json.dumps({"sites": sites, "model": None if model is None else model.name}))
    audit.append(home.audit, "survey ordered", run=name, sites=",".join(sites))
    run.give("run")
    return run


def _new(home: FederationHome, name: str, config: RunConfig) -> Run:
    run = Run(check_name(name), home.runs / name)
    if run.folder.exists():
        raise RunStateError(
            f"there is a run '{name}' already", where=str(run.folder), do=f"go on with it: xai-server resume {name}"
        )
    write_text(run.folder / CONFIG, to_yaml(config))
    return run


def all_runs(home: FederationHome) -> list[Run]:
    """Every run, oldest order first."""
    found = [Run(folder.name, folder) for folder in sorted(home.runs.glob("*")) if (folder / ORDER).exists()]
    return sorted(found, key=lambda run: (run.folder / CONFIG).stat().st_mtime)


def find_run(home: FederationHome, name: str) -> Run:
    """A run by its name.

    Raises:
        RunStateError: there is none.
    """
    runs = {run.name: run for run in all_runs(home)}
    if name not in runs:
        raise RunStateError(f"there is no run '{name}'", where=str(home.runs), do=f"known: {', '.join(runs) or 'none'}")
    return runs[name]


def resume(home: FederationHome, name: str) -> Run:
    """Order a run again; it goes on after its last checkpoint.

    Raises:
        RunStateError: unknown, finished, or not ended yet.
    """
    run = find_run(home, name)
    if run.state.order == run.order.number and run.state.state == "finished":
        raise RunStateError(f"run '{name}' is finished", do="start a new one: xai-server train")
    if run.order.wanted == "run" and (run.state.order < run.order.number or run.state.state in OPEN):
        raise RunStateError(f"run '{name}' has not ended", do=f"watch it: xai-server show {name}")
    audit.append(home.audit, "run resumed", run=name)
    run.give("run")
    return run


def stop(home: FederationHome, name: str) -> Run:
    """Order a run to stop; what was done is kept and can be resumed.

    Raises:
        RunStateError: unknown, or ended already.
    """
    run = find_run(home, name)
    if run.order.wanted == "stop" or (run.state.order == run.order.number and run.state.state not in OPEN):
        raise RunStateError(f"run '{name}' has ended already ({run.state.state})")
    audit.append(home.audit, "run stopped", run=name)
    run.give("stop")
    return run
