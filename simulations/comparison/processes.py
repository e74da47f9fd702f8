"""Several trainings at a time, each in a process of its own that ends with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from common import progress
from common.errors import RunStateError, XaiFederationError
from simulations.comparison.plan import Training
from simulations.comparison.work import carry_out

GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class _Running:
    training: Training
    process: BaseProcess


def carry_out_all(trainings: list[Training], caches: Path, at_once: int) -> None:
    """Carry out every training, ``at_once`` at a time, with a line for each that is finished.

    One that fails does not stop the others; the first failure is raised when all have ended. Whatever ends this
    early, Ctrl-C too, ends the processes: what they had finished is on disk.

    Raises:
        XaiFederationError: of the first training that failed, by name.
        RunStateError: a process ended without saying why.
    """
    failures: list[XaiFederationError] = []
    done = 0

    def ended(training: Training, result: str | XaiFederationError) -> None:
        nonlocal done
        done += 1
        if isinstance(result, XaiFederationError):
            failures.append(result)
            result = f"{training.name:32} failed: {result.what}"
        progress.say(f"{done} of {len(trainings)}  {result}")

    if at_once == 1:
        for training in trainings:
            try:
                result: str | XaiFederationError = carry_out(training, caches)
            except XaiFederationError as error:
                result = error
            ended(training, result)
    else:
        _side_by_side(trainings, caches, at_once, ended)
    if failures:
        raise failures[0]


def _side_by_side(
    trainings: list[Training],
    caches: Path,
    at_once: int,
    ended: Callable[[Training, str | XaiFederationError], None],
) -> None:
    context = multiprocessing.get_context("spawn")
    waiting, running = list(trainings), dict[Connection, _Running]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                training = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_in_a_process, args=(training, caches, there), name=training.name)
                process.start()
                there.close()
                running[here] = _Running(training, process)
            # Ends with a process, which answers or dies: its own waits have deadlines.
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                one = running.pop(connection)
                ended(one.training, _result(connection, one))
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.join(GRACE_SECONDS)
            if one.process.is_alive():
                one.process.kill()
                one.process.join(GRACE_SECONDS)


def _result(connection: Connection, one: _Running) -> str | XaiFederationError:
    try:
        result: str | XaiFederationError = connection.recv()
    except EOFError:
        one.process.join(GRACE_SECONDS)
        code = one.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        return RunStateError(
            f"the process of {one.training.name} {how} and gave no result",
            where=str(one.training.folder),
            do="call again to go on; choose fewer --jobs if memory ran out",
        )
    finally:
        connection.close()
    one.process.join(GRACE_SECONDS)
    return result


def _in_a_process(training: Training, caches: Path, answer: Connection) -> None:
    """Carry out a training; Ctrl-C is the parent's to hear, and the process does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer.send(carry_out(training, caches))
    except XaiFederationError as error:
        answer.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
