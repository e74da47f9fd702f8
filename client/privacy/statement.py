"""What a site's ledger says: spent per data set and run. Pure but for the files that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.privacy import ledger, patients
from client.privacy.accounting import epsilon_of
from client.privacy.ledger import Spend


@dataclass(frozen=True)
class RunStatement:
    """One run on one data set."""

    run: str
    task: str
    begun: str
    """Time of its first line, UTC."""
    rounds: int
    """That were begun; one that was begun again counts again."""
    steps: int
    epsilon: float
    delta: float


@dataclass(frozen=True)
class DataStatement:
    """One set of training patients."""

    data: str
    """Its fingerprint."""
    patients: int
    epsilon: float
    """Of every run that touched one of these patients, as if it had touched all."""
    delta: float
    """The smallest of those runs."""
    shared: int
    """Of those lines, how many are of other data sets, with which this one shares patients."""
    runs: tuple[RunStatement, ...]


@dataclass(frozen=True)
class Statement:
    """All of a ledger."""

    lines: int
    hash: str
    """Of the last line."""
    data: tuple[DataStatement, ...]


def statement(state: Path) -> Statement:
    """Read a ledger, check it, and say what was spent.

    Raises:
        LedgerError, AuditError: it was changed, cut or damaged.
        AccountingError: the accountant cannot say.
    """
    spends = ledger.read(state)
    sets = dict.fromkeys(spend.data for spend in spends)
    found = tuple(_data(state, spends, name) for name in sets)
    return Statement(len(spends), ledger.last_hash(state), found)


def _data(state: Path, spends: Sequence[Spend], name: str) -> DataStatement:
    touching = ledger.sharing(state, spends, patients.recall(state, name))
    own = [spend for spend in spends if spend.data == name]
    runs = dict.fromkeys(spend.run for spend in own)
    delta = min(spend.delta for spend in touching)
    return DataStatement(
        data=name,
        patients=own[0].patients,
        epsilon=epsilon_of([spend.noisy for spend in touching], delta, _accountant(touching)),
        delta=delta,
        shared=len(touching) - len(own),
        runs=tuple(_run([spend for spend in own if spend.run == run]) for run in runs),
    )


def _run(lines: Sequence[Spend]) -> RunStatement:
    first, delta = lines[0], min(spend.delta for spend in lines)
    return RunStatement(
        run=first.run,
        task=first.task,
        begun=first.time,
        rounds=len(lines),
        steps=sum(spend.steps for spend in lines),
        epsilon=epsilon_of([spend.noisy for spend in lines], delta, _accountant(lines)),
        delta=delta,
    )


def _accountant(lines: Sequence[Spend]) -> str:
    """``rdp`` where every run chose it; both are bounds, ``prv`` is the tighter one."""
    return "rdp" if all(spend.accountant == "rdp" for spend in lines) else "prv"
