"""Keeps ordered runs going: one at a time, again after a crash, paused when the quorum is lost or the disk is full."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import httpx

from common import audit, progress
from common.errors import QuorumError, RunStateError, StorageError
from server.federation.control import Control
from server.federation.home import FederationHome
from server.federation.runs import FAILURE, Failure, Run, State, all_runs

MAXIMUM_ATTEMPTS = 6
"""Attempts without a new round after which a run is given up; a coordinator can resume it."""
_CURABLE = (QuorumError.__name__, StorageError.__name__)
"""Errors that pass: sites come back, a disk is cleared. The run waits for the coordinator's word."""
PAUSE_SECONDS = 5.0
"""Between two attempts, times the number of attempts."""
ENDING_SECONDS = 5.0
"""How long after its last work an attempt may take to tell Flower how it ended."""


@dataclass
class Pulse:
    """When each attempt's process was last seen at work; one that was killed shows in Flower only after a minute."""

    seen: dict[int, float] = field(default_factory=dict)
    """By Flower's number of the run, on the monotonic clock."""

    def stopped(self, run: Run, number: int) -> bool:
        """Whether the process was at work and is no more."""
        now = time.monotonic()
        if run.is_worked_on:
            self.seen[number] = now
        return now - self.seen.get(number, now) > ENDING_SECONDS


def keep_runs(home: FederationHome, control: Control, pulse: Pulse) -> None:
    """Carry out the orders: stop, watch the running one, begin the next.

    Raises:
        httpx.HTTPError: the SuperLink does not answer; nothing is lost, the next call goes on.
    """
    busy = False
    for run in all_runs(home):
        try:
            busy = _keep(home, control, pulse, run, busy) or busy
        except RunStateError as error:
            progress.say(f"run {run.name}: {error.what}")


def _keep(home: FederationHome, control: Control, pulse: Pulse, run: Run, busy: bool) -> bool:
    """Bring one run to what its order says; returns whether it occupies the federation."""
    order, state = run.order, run.state
    if state.order < order.number:
        if order.wanted == "stop":
            _stop(home, control, run, state, order.number)
            return False
        state = State("queued", order.number, since=time.time())
        run.write(state)
    if state.state == "queued":
        return not busy and _begin(home, control, run, state)
    return state.state == "running" and _watch(home, control, pulse, run, state)


def _stop(home: FederationHome, control: Control, run: Run, state: State, number: int) -> None:
    if state.state == "running" and not _status(control, state.flower_run).startswith("finished"):
        control.stop_run(state.flower_run)
    _end(home, run, replace(state, order=number), "stopped", "by the coordinator")


def _begin(home: FederationHome, control: Control, run: Run, state: State) -> bool:
    if time.time() < state.since + PAUSE_SECONDS * state.attempts:
        return True  # the run keeps its place while it waits for its next attempt
    for result in (run.folder / FAILURE, run.last_result):  # of the attempt before
        result.unlink(missing_ok=True)
    number = control.start_run(run.folder)
    if not number:
        _end(home, run, state, "failed", "the SuperLink does not accept the run (see log/superlink.log)")
        return False
    attempts = state.attempts + 1
    run.write(replace(state, state="running", flower_run=number, attempts=attempts, rounds_before=run.rounds_done))
    audit.append(home.audit, "run begun", run=run.name, attempt=attempts, flower_run=str(number))
    progress.say(f"run {run.name}: attempt {attempts} begins after round {run.rounds_done}")
    return True


def _watch(home: FederationHome, control: Control, pulse: Pulse, run: Run, state: State) -> bool:
    status = _status(control, state.flower_run)
    if not status.startswith("finished"):
        if not pulse.stopped(run, state.flower_run):
            return True
        control.stop_run(state.flower_run)
        status = "its process ended without a word"
    failure = run.failure()
    if run.last_result.exists():  # even if its process was killed before it could say so
        _end(home, run, state, "finished", "")
    elif failure is not None:
        _end(home, run, state, "paused" if failure.error in _CURABLE else "failed", _words(failure))
    else:
        return _try_again(home, run, state, status)
    return False


def _try_again(home: FederationHome, run: Run, state: State, status: str) -> bool:
    """An attempt that ended without a word (killed, machine restarted) is begun again from its checkpoint."""
    attempts = 0 if run.rounds_done > state.rounds_before else state.attempts
    if attempts >= MAXIMUM_ATTEMPTS:
        reason = f"{attempts} attempts ended without a new round; see {run.folder / 'progress.log'} and log/"
        _end(home, run, state, "failed", reason)
        return False
    run.write(replace(state, state="queued", attempts=attempts, since=time.time()))
    progress.say(f"run {run.name}: the attempt ended ({status}); it is begun again after round {run.rounds_done}")
    return True


def _end(home: FederationHome, run: Run, state: State, name: str, reason: str) -> None:
    run.write(replace(state, state=name, reason=reason, since=time.time()))
    audit.append(home.audit, f"run {name}", run=run.name, rounds=run.rounds_done, reason=reason)
    progress.say(f"run {run.name}: {name}{f': {reason}' if reason else ''}")


def _words(failure: Failure) -> str:
    return ". ".join(part for part in (failure.what, failure.where, failure.do) if part)


def _status(control: Control, number: int) -> str:
    """Flower's word on an attempt; an attempt that it does not know (a lost database) has failed."""
    try:
        return control.run_status(number)
    except httpx.HTTPStatusError as error:
        if error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise
        return "finished:unknown"
