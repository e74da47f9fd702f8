"""The audit log: who asked what, what left, how many bytes. A hash-chained file (``common.chain``)."""

from __future__ import annotations

from pathlib import Path

from common import chain
from common.chain import GENESIS, Entry, Kind
from common.errors import AuditError

_LOG = Kind(
    "audit log",
    AuditError,
    without="nothing is done",
    damaged="keep the file as evidence under another name; a new log is begun without it",
)


def append(path: Path, event: str, **details: str | int | float) -> Entry:
    """Write one event to the end of the log and sync it to disk; several processes may do so.

    A last line that was only half written (power failure) is taken out, and that is logged.

    Raises:
        StorageError: disk full or no permission.
        AuditError: the last line is not one of ours.
    """
    return chain.append(_LOG, path, event, details)


def read(path: Path, *, torn: bool = False) -> list[Entry]:
    """Read a log and check its chain; none is an empty log. ``torn``: leave out a last line that was half written.

    Raises:
        AuditError: a line was changed, is missing or damaged; names the line.
    """
    return chain.read(_LOG, path, torn=torn)


def lines(entries: list[Entry]) -> list[str]:
    """The log as a person reads it; the last line is the hash to be noted elsewhere."""
    text = [
        f"{entry.number:6}  {entry.time[:19]}  {entry.event:16} "
        + "  ".join(f"{key}={value}" for key, value in entry.details.items() if value != "")
        for entry in entries
    ]
    return [*text, f"{len(entries)} lines, chain intact; last hash {entries[-1].hash if entries else GENESIS}"]
