"""A private round at a site, before it begins: what it would cost, and the ledger's line that lets it begin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from client.privacy import ledger, patients
from client.privacy.budget import Cost, cost
from client.privacy.ledger import Spend
from client.privacy.noise_level import delta_of, noise_multiplier_of
from client.privacy.plan import Steps, steps_of_round
from client.tasks.work import work_of
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.errors import ConfigurationError, WireError
from common.protocol import PrivacySpent

UNIT = "patient"


@dataclass(frozen=True)
class Asked:
    """What a coordinator says of the work: its name for the run, the next round (0: none yet), rounds in all."""

    run: str
    number: int
    rounds: int


@dataclass(frozen=True)
class Plan:
    """Noisy steps of one round on a site's training patients, and what they cost."""

    members: frozenset[str]
    """The patients, hashed with the site's key."""
    key: bytes
    steps: Steps
    """Of the round."""
    cost: Cost

    @property
    def whole_run(self) -> PrivacySpent:
        """What the whole run would cost."""
        return PrivacySpent(self.cost.run_planned, self.cost.delta, UNIT)


def is_private(task: TaskConfig) -> bool:
    """Whether a task asks for patient-level privacy."""
    return task.privacy.unit == UNIT


def learners(data: SiteData, task: TaskConfig) -> frozenset[str]:
    """Identifiers of the training patients that a task can learn from: those who are drawn in private training.

    Raises:
        XaiFederationError: there is nothing to learn from, as the task sees it.
    """
    return frozenset(breast.patient_id for breast in work_of(task).trainable(data, task).breasts)


def plan(state: Path, people: Collection[str], task: TaskConfig, asked: Asked) -> Plan:
    """What the next round would do, and what it and the whole run cost these patients; nothing is spent yet.

    Args:
        state: the site's state folder; the key for its patients' identifiers is made there when it has no ledger.
        people: identifiers of the patients who would be drawn (:func:`learners`).
        task: with ``privacy.unit=patient``.
        asked: by the coordinator.

    Raises:
        ConfigurationError: no noise is asked for.
        WireError: the run's name is none, or there is no such round.
        LedgerError: the ledger, or what belongs to it, was changed, cut or damaged.
        AccountingError: the accountant cannot say.
        XaiFederationError: delta is too large for so few patients, or no noise reaches epsilon, by name.
    """
    if not ledger.RUN.fullmatch(asked.run):
        raise WireError("the name of the run is not one that a coordinator gives")
    if not 0 <= asked.number <= asked.rounds or asked.rounds < 1:
        raise WireError(f"there is no round {asked.number} of {asked.rounds}")
    if task.privacy.noise_multiplier == 0:
        raise ConfigurationError(
            "without noise nothing is promised",
            where="privacy.noise_multiplier",
            do="set it above 0, or privacy.epsilon",
        )
    privacy, epochs = task.privacy, task.training.local_epochs
    delta = delta_of(privacy, len(people))
    noise = noise_multiplier_of(privacy, len(people), epochs, asked.rounds)
    steps = steps_of_round(privacy, epochs, len(people), noise)
    before = ledger.read(state)
    key = patients.read_key(state) if before else patients.make_key(state)
    members = patients.hashed(key, people)
    touched = ledger.sharing(state, before, members)
    costs = cost(touched, asked.run, asked.number, steps, asked.rounds, delta, privacy.accountant)
    return Plan(members, key, steps, costs)


def begin(state: Path, task: TaskConfig, asked: Asked, planned: Plan) -> PrivacySpent:
    """Write the ledger's line of a round; returns what the run costs with it. Only then may the noisy steps begin.

    Raises:
        StorageError: the line cannot be written, the steps must not begin.
        LedgerError, AuditError: as said.
    """
    line = Spend(
        run=asked.run,
        round=asked.number,
        task=task.task,
        patients=len(planned.members),
        data=patients.remember(state, planned.members),
        key=patients.mark(planned.key),
        noise_multiplier=planned.steps.noise_multiplier,
        sample_rate=planned.steps.sample_rate,
        steps=planned.steps.steps,
        delta=planned.cost.delta,
        accountant=task.privacy.accountant,
    )
    ledger.write(state, line)
    return PrivacySpent(planned.cost.run_after, planned.cost.delta, UNIT)
