"""The privacy ledger of a site: which noisy steps were begun on whose data, in every run there ever was.

A hash-chained file that only grows (``common.chain``). A line is on the disk **before** the noisy steps of its
round begin: whatever is killed when, the ledger can only say too much. That its end was not cut off is seen in the
audit log, which notes number and hash of each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from client.privacy import patients as sets
from client.privacy.plan import Steps
from common import audit, chain
from common.chain import Entry, Kind
from common.errors import LedgerError

LEDGER, AUDIT = "privacy-ledger.jsonl", "audit.jsonl"
BEGUN, NOTED, ACCEPTED = "noisy steps begin", "privacy ledger", "privacy ledger accepted"
"""Event of a line of the ledger; events of the audit log that note how far the ledger is."""
RUN = re.compile(r"[0-9a-f]{0,32}")
"""What a coordinator may call a run: nothing that it writes into a site's ledger means anything."""
UNNOTED = 1
"""Lines that the audit log may not know of: a process that is killed between the two files leaves one."""
_KIND = Kind(
    "privacy ledger",
    LedgerError,
    without="nothing is trained privately",
    damaged="restore it from a backup; nothing is trained privately until it is whole",
)


@dataclass(frozen=True)
class Spend:
    """One line: a round's noisy steps, which were about to begin."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    run: str
    round: int
    task: str
    patients: int
    """How many they were."""
    data: str
    """Fingerprint of the set of patients (``client.privacy.patients``)."""
    key: str
    """Mark of the key that the set was hashed with."""
    noise_multiplier: float
    sample_rate: float
    steps: int
    delta: float
    accountant: str
    time: str = field(default="", compare=False)
    """When it was written; of a line that was read."""

    @property
    def noisy(self) -> Steps:
        """What an accountant needs."""
        return Steps(self.noise_multiplier, self.sample_rate, self.steps)


_LINE = TypeAdapter(Spend)
"""To make it takes as long as to read a hundred lines."""


def read(state: Path) -> list[Spend]:
    """Every line of a site's ledger, after its chain was checked, and its end against the audit log.

    Raises:
        LedgerError: a line was changed, is missing or damaged, or the end was cut off.
        AuditError: the audit log is damaged.
    """
    entries = _entries(state)
    _require_end(entries, state)
    return [_spend(entry, state) for entry in entries if entry.event == BEGUN]


def write(state: Path, spend: Spend) -> Entry:
    """Add a line and wait until it is on the disk; only then may the noisy steps begin.

    Raises:
        LedgerError: as :func:`read`.
        StorageError: it cannot be written: the steps must not begin.
        AuditError: the audit log is damaged.
    """
    entries = _entries(state)
    if entries and _unnoted(entries, state):  # killed between the two files
        _note(state, entries[-1], NOTED)
    details = asdict(spend)
    del details["time"]  # every line of a chain has its own
    entry = chain.append(_KIND, state / LEDGER, BEGUN, details)
    _note(state, entry, NOTED)
    return entry


def accept(state: Path) -> str:
    """Take the ledger as it stands for whole, by the word of a person; the audit log says so. Returns its last hash.

    Raises:
        LedgerError: its chain is broken.
    """
    entries = _entries(state)
    last = entries[-1] if entries else Entry(0, "", "", {}, chain.GENESIS)
    _note(state, last, ACCEPTED)
    return last.hash


def last_hash(state: Path) -> str:
    """Of the last line, to be noted elsewhere.

    Raises:
        LedgerError: the chain is broken.
    """
    entries = _entries(state)
    return entries[-1].hash if entries else chain.GENESIS


def sharing(state: Path, spends: Sequence[Spend], members: frozenset[str]) -> list[Spend]:
    """The lines that cost at least one of these patients something.

    Data sets that share a patient share their budget; what disjoint sets cost is not added (parallel composition:
    McSherry 2009, SIGMOD, theorem 4).

    Args:
        state: the site's state folder.
        spends: of its ledger.
        members: hashed patients.

    Raises:
        LedgerError: a set of patients is missing, was changed, or was hashed with another key.
    """
    if not spends:
        return []
    mark = sets.mark(sets.read_key(state))
    if any(spend.key != mark for spend in spends):
        raise LedgerError(
            "the privacy ledger was written with another key: its patients cannot be told",
            where=str(state / sets.KEY),
            do="restore the key from a backup",
        )
    touched = {name for name in _names(spends) if members & sets.recall(state, name)}
    return [spend for spend in spends if spend.data in touched]


def _entries(state: Path) -> list[Entry]:
    """Lines whose chain is whole. One that was only half on the disk let no step begin."""
    return chain.read(_KIND, state / LEDGER, torn=True)


def _names(spends: Iterable[Spend]) -> set[str]:
    return {spend.data for spend in spends}


def _note(state: Path, entry: Entry, event: str) -> None:
    told: dict[str, Any] = {key: entry.details[key] for key in ("run", "round", "steps") if key in entry.details}
    audit.append(state / AUDIT, event, number=entry.number, hash=entry.hash, **told)


def _noted(state: Path) -> tuple[int, str]:
    """How far the audit log knows the ledger: number and hash of a line."""
    notes = [item.details for item in audit.read(state / AUDIT, torn=True) if item.event in (NOTED, ACCEPTED)]
    return (notes[-1]["number"], notes[-1]["hash"]) if notes else (0, chain.GENESIS)


def _unnoted(entries: Sequence[Entry], state: Path) -> bool:
    return _noted(state)[0] < entries[-1].number


def _require_end(entries: Sequence[Entry], state: Path) -> None:
    number, known = _noted(state)
    there = entries[number - 1].hash if 0 < number <= len(entries) else chain.GENESIS
    if number > len(entries) or there != known:
        raise LedgerError(
            f"the privacy ledger was cut off or replaced: the audit log knows {number} of its lines, "
            f"of these {min(number, len(entries))} are there",
            where=str(state / LEDGER),
            do="restore it from a backup (xai-client ledger --accept takes it as it is, and the audit log will say so)",
        )
    if sum(entry.event == BEGUN for entry in entries[number:]) > UNNOTED:
        raise LedgerError(
            f"the audit log knows only {number} of the {len(entries)} lines of the privacy ledger",
            where=str(state / AUDIT),
            do="restore the audit log from a backup, or look at the ledger and accept it: xai-client ledger --accept",
        )


def _spend(entry: Entry, state: Path) -> Spend:
    try:
        return replace(_LINE.validate_python(entry.details), time=entry.time)
    except ValidationError as error:
        raise LedgerError(
            "a line of the privacy ledger is of another version of this program",
            where=f"{state / LEDGER}:{entry.number}",
            do="install the version that wrote it",
        ) from error
