"""One process per folder: a lock that the kernel releases however the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from common.errors import FederationStateError


@contextlib.contextmanager
def held(path: Path, what: str, patience_seconds: float = 0.5) -> Iterator[None]:
    """Hold the lock inside the block.

    Args:
        path: the lock's file.
        what: what runs under it, for the message.
        patience_seconds: how long to wait for another process to end, or to have looked (:func:`is_held`).

    Raises:
        FederationStateError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience_seconds
    with path.open("a+") as stream:
        while not _taken(stream, fcntl.LOCK_EX):
            if time.monotonic() > end:
                stream.seek(0)
                owner = stream.read().strip() or "unknown"
                raise FederationStateError(
                    f"{what} runs already (process {owner})", where=str(path), do="stop it first"
                )
            time.sleep(0.1)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock."""
    if not path.exists():
        return False
    with path.open("a+") as stream:
        return not _taken(stream, fcntl.LOCK_SH)


def _taken(stream: TextIO, how: int) -> bool:
    try:
        fcntl.flock(stream, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
