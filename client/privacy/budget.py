"""What a run costs the patients it is to learn from: this round, the whole run, and everything that was before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from client.privacy.accounting import epsilon_of
from client.privacy.ledger import Spend
from client.privacy.plan import Steps


@dataclass(frozen=True)
class Cost:
    """Epsilon of a site's patients. Runs are told apart by the coordinator's name for them, patients by the site."""

    delta: float
    """Of this run."""
    run_before: float
    """Of this run so far."""
    run_after: float
    """With the next round."""
    run_planned: float
    """Of the whole run: its rounds, and those that had to be begun again."""
    total_delta: float
    """The smallest of every run that is in a total."""
    total_before: float
    """Of every run on these patients, this one among them."""
    total_after: float
    total_planned: float


def cost(
    before: Sequence[Spend], run: str, number: int, next_round: Steps, rounds: int, delta: float, accountant: str
) -> Cost:
    """What the next round of a run would cost, and all of it.

    A total is composed over every line that touches one of the patients, as if each touched all: what one patient has
    really spent is never more. It is taken at the smallest delta of its lines, where epsilon is largest.

    Args:
        before: lines of the ledger that touch the patients, of any run.
        run: name of the run.
        number: its next round; 0 before the first.
        next_round: noisy steps of a round.
        rounds: of the run.
        delta: of the run.
        accountant: ``prv`` or ``rdp``.

    Raises:
        AccountingError: the accountant cannot say.
    """
    own = [spend for spend in before if spend.run == run]
    others = [spend.noisy for spend in before if spend.run != run]
    done = [spend.noisy for spend in own]
    plan = [*(spend.noisy for spend in _repeated(own, number)), *[next_round] * rounds]
    smallest = min([delta, *(spend.delta for spend in before)])

    def total(steps: Iterable[Steps]) -> float:
        return epsilon_of([*others, *steps], smallest, accountant)

    return Cost(
        delta=delta,
        run_before=epsilon_of(done, delta, accountant),
        run_after=epsilon_of([*done, next_round], delta, accountant),
        run_planned=epsilon_of(plan, delta, accountant),
        total_delta=smallest,
        total_before=total(done),
        total_after=total([*done, next_round]),
        total_planned=total(plan),
    )


def _repeated(own: Sequence[Spend], number: int) -> list[Spend]:
    """Lines of rounds that were begun more than once, or are to be begun again: all but what the plan has of them."""
    counted: set[int] = {number}
    repeated = []
    for spend in own:
        if spend.round in counted:
            repeated.append(spend)
        counted.add(spend.round)
    return repeated
