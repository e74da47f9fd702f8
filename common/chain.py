"""Hash-chained files that only grow: audit logs, and the privacy ledger of a site.

One JSON object a line; ``hash`` is the SHA-256 of the line before and of this line's content, so
that no line can be changed, taken out or put in without every later hash being wrong. Cutting off
the end is noticed against a hash that somebody noted.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import StorageError, XaiFederationError

GENESIS = "0" * 64


@dataclass(frozen=True)
class Kind:
    """What a file is, for whoever reads that it is damaged."""

    name: str
    error: type[XaiFederationError]
    """A line was changed, is missing or damaged."""
    without: str
    """What is not done while nothing can be written."""
    damaged: str
    """What to do about a damaged line."""


@dataclass(frozen=True)
class Entry:
    """One line."""

    number: int
    time: str
    event: str
    details: dict[str, Any]
    hash: str


def append(kind: Kind, path: Path, event: str, details: dict[str, Any]) -> Entry:
    """Write one event to the end of the file and sync it to disk; several processes may do so.

    A last line that was only half written (power failure) is taken out, and a line says so.

    Raises:
        StorageError: disk full or no permission.
        XaiFederationError: ``kind.error``: the last line is not one of ours.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            torn = _take_out_torn_line(stream)
            last = _last(kind, stream, path)
            if torn:
                last = _write(stream, last, "torn line taken out", {"bytes": torn})
            return _write(stream, last, event, details)
    except OSError as error:
        raise StorageError(
            f"cannot write the {kind.name}: {error.strerror or error}",
            where=str(path),
            do=f"free some space or mend the permissions; without it {kind.without}",
        ) from error


def _write(stream: BinaryIO, last: Entry | None, event: str, details: dict[str, Any]) -> Entry:
    number, before = (last.number + 1, last.hash) if last else (1, GENESIS)
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    content = {"number": number, "time": time, "event": event, "details": details}
    entry = Entry(number, time, event, details, _hash(before, content))
    stream.write(json.dumps({**content, "hash": entry.hash}).encode() + b"\n")
    stream.flush()
    os.fsync(stream.fileno())
    return entry


def read(kind: Kind, path: Path, *, torn: bool = False) -> list[Entry]:
    """Read a file and check its chain; none is an empty one.

    Args:
        kind: what the file is.
        path: of the file.
        torn: leave out a last line without its line break, which :func:`append` will take out.

    Raises:
        XaiFederationError: ``kind.error``: a line was changed, is missing or damaged; names the line.
    """
    entries: list[Entry] = []
    before = GENESIS
    content = path.read_bytes() if path.exists() else b""
    lines = (content[: content.rfind(b"\n") + 1] if torn else content).splitlines()
    for number, line in enumerate(lines, 1):
        entry = _parse(kind, line, path, number)
        if entry.number != number or entry.hash != _hash(before, _content(entry)):
            raise kind.error(
                f"the chain of the {kind.name} is broken: this line or one before it was changed, put in or taken out",
                where=f"{path}:{number}",
                do="compare with a backup; lines before this one are as they were written",
            )
        entries.append(entry)
        before = entry.hash
    return entries


def _take_out_torn_line(stream: BinaryIO) -> int:
    """Cut off what follows the last line break; returns how many bytes that were."""
    tail = _tail(stream)
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if torn:
        stream.truncate(stream.seek(0, os.SEEK_END) - torn)
    return torn


def _last(kind: Kind, stream: BinaryIO, path: Path) -> Entry | None:
    lines = _tail(stream).splitlines()
    return _parse(kind, lines[-1], path, len(lines)) if lines else None


def _tail(stream: BinaryIO) -> bytes:
    """The end of the file, many lines long."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 65536))
    return stream.read()


def _parse(kind: Kind, line: bytes, path: Path, number: int) -> Entry:
    try:
        found = json.loads(line)
        return Entry(found["number"], found["time"], found["event"], found["details"], found["hash"])
    except (ValueError, LookupError, TypeError) as error:
        raise kind.error(f"a line of the {kind.name} is damaged", where=f"{path}:{number}", do=kind.damaged) from error


def _content(entry: Entry) -> dict[str, Any]:
    return {"number": entry.number, "time": entry.time, "event": entry.event, "details": entry.details}


def _hash(before: str, content: dict[str, Any]) -> str:
    return hashlib.sha256((before + json.dumps(content, sort_keys=True)).encode()).hexdigest()
