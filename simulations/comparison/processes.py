"""Several trainings at a time, in processes that work one training after the other and end with this one.

A process loads PyTorch, and on a GPU its libraries too, once: on a machine with one GPU and 16 processes that took as
long as ten rounds.
"""

from __future__ import annotations

import contextlib
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


@dataclass
class _Worker:
    process: BaseProcess
    training: Training
    """That it works on."""


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
    waiting, working = list(trainings), dict[Connection, _Worker]()
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(caches, there))
                process.start()
                there.close()
                _give(here, working.setdefault(here, _Worker(process, waiting[0])), waiting)
            # Ends with a process, which answers or dies: its own waits have deadlines.
            for connection in wait(list(working)):
                assert isinstance(connection, Connection)
                worker = working[connection]
                ended(worker.training, _result(connection, worker))
                if worker.process.exitcode is None and waiting:
                    _give(connection, worker, waiting)
                else:
                    connection.close()
                    del working[connection]
                    worker.process.join(GRACE_SECONDS)
    finally:
        for worker in working.values():
            worker.process.terminate()
        for worker in working.values():
            worker.process.join(GRACE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join(GRACE_SECONDS)


def _give(connection: Connection, worker: _Worker, waiting: list[Training]) -> None:
    """Give a process the next training; one that has died meanwhile is found out when its answer is read."""
    worker.training = waiting.pop(0)
    with contextlib.suppress(BrokenPipeError):
        connection.send(worker.training)


def _result(connection: Connection, worker: _Worker) -> str | XaiFederationError:
    try:
        result: str | XaiFederationError = connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(GRACE_SECONDS)
        code = worker.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        return RunStateError(
            f"the process of {worker.training.name} {how} and gave no result",
            where=str(worker.training.folder),
            do="call again to go on; choose fewer --jobs if memory ran out",
        )
    return result


def _work(caches: Path, parent: Connection) -> None:
    """Carry out trainings until there are no more; Ctrl-C is the parent's to hear, and none outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            training: Training = parent.recv()
        except EOFError:
            return
        try:
            parent.send(carry_out(training, caches))
        except XaiFederationError as error:
            parent.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
