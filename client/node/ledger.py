"""``xai-client ledger`` in words: spent and left per data set and run, and what the next run would cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from client.node.policy import Policy, check_budget
from client.privacy.budget import Cost
from client.privacy.spending import Asked, is_private, learners, plan
from client.privacy.statement import DataStatement, Statement, statement
from client.site import Site, load_site
from common.configuration import RunConfig, TaskConfig, task_of
from common.errors import ConfigurationError, PrivacyBudgetError
from common.uncovered import NOT_COVERED

NARROWEST = 100
"""Columns that the tables take, also where there is no terminal."""


@dataclass(frozen=True)
class Next:
    """What a run would cost the patients who would be trained on now."""

    patients: int
    rounds: int
    noise_multiplier: float
    cost: Cost
    refusal: str
    """Why the policy does not allow it; empty when it does."""


def next_run(site: Site, policy: Policy, config: RunConfig) -> Next:
    """What a whole run would cost; nothing is spent.

    Raises:
        ConfigurationError: the settings ask for no privacy.
        XaiFederationError: anything wrong with ledger or data, by name.
    """
    task: TaskConfig = task_of(config)
    if not is_private(task):
        raise ConfigurationError(
            "the settings ask for no privacy, so the run would cost what no budget can say",
            where="privacy.unit",
            do="add privacy.unit=patient privacy.epsilon=...",
        )
    people = learners(load_site(site, task).of_split("train"), task)
    planned = plan(site.state, people, task, Asked("", 0, config.federation.rounds))
    refusal = ""
    try:
        check_budget(policy, planned.cost, whole_run=True)
    except PrivacyBudgetError as error:
        refusal = error.what
    return Next(len(people), config.federation.rounds, planned.steps.noise_multiplier, planned.cost, refusal)


def verified(site: Site) -> str:
    """One line: the ledger is whole, and the hash to be noted elsewhere.

    Raises:
        LedgerError, AuditError: it is not.
    """
    found = statement(site.state)
    return f"{found.lines} lines, chain intact, as far as the audit log knows it; last hash {found.hash}"


def record(site: Site, policy: Policy, following: Next | None) -> str:
    """Everything as JSON."""
    found = statement(site.state)
    told: dict[str, Any] = {
        "site": site.name,
        "lines": found.lines,
        "last_hash": found.hash,
        "unit": "patient",
        "maximum_epsilon": policy.maximum_epsilon,
        "maximum_epsilon_run": policy.maximum_epsilon_run,
        "data": [asdict(item) | {"left": left(policy, item.epsilon)} for item in found.data],
        "next": _next_record(policy, following) if following else None,
        "not_covered": list(NOT_COVERED),
    }
    return json.dumps(told, indent=1)


def _next_record(policy: Policy, following: Next) -> Mapping[str, Any]:
    return asdict(following) | {
        "allowed": not following.refusal,
        "left_after": left(policy, following.cost.total_planned),
    }


def left(policy: Policy, spent: float) -> float | None:
    """What of the largest epsilon in total is left; ``None`` where the policy sets none."""
    return None if policy.maximum_epsilon is None else max(0.0, policy.maximum_epsilon - spent)


def describe(site: Site, policy: Policy, following: Next | None) -> str:
    """Everything as tables for a terminal."""
    found = statement(site.state)
    stream = StringIO()
    columns = max(NARROWEST, shutil.get_terminal_size().columns)
    console = Console(file=stream, width=columns, highlight=False, markup=False)
    lines = [
        f"privacy ledger of {site.name}: {found.lines} lines, chain intact; last hash {found.hash}",
        f"policy: {_limits(policy)}",
    ]
    if found.data:
        console.print(_table(found, policy))
        lines += ["", *(line.rstrip() for line in stream.getvalue().splitlines())]
        lines += [_sharing(item) for item in found.data if item.shared]
    else:
        lines.append("nothing was trained privately yet")
    lines += ["", _next(following, policy)] if following else []
    return "\n".join([*lines, "", "Not covered by any epsilon:", *(f"  {line}" for line in NOT_COVERED)])


def _limits(policy: Policy) -> str:
    total, run = (
        "no limit" if value is None else f"epsilon {value:g}"
        for value in (policy.maximum_epsilon, policy.maximum_epsilon_run)
    )
    return f"in total {total}, a run {run}"


def _table(found: Statement, policy: Policy) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("patients", "run", "task", "begun (UTC)"):
        table.add_column(name)
    for name in ("rounds", "noisy steps", "epsilon", "delta", "left"):
        table.add_column(name, justify="right")
    for item in found.data:
        table.add_row(
            f"{item.patients} ({item.data[:8]})",
            "all runs", "", "", "", "",
            _number(item.epsilon), f"{item.delta:.2g}", _number(left(policy, item.epsilon)),
        )  # fmt: skip
        for run in item.runs:
            table.add_row(
                "", run.run[:8] or "-", run.task, run.begun[:16].replace("T", " "), str(run.rounds), str(run.steps),
                _number(run.epsilon), f"{run.delta:.2g}", "",
            )  # fmt: skip
    return table


def _sharing(item: DataStatement) -> str:
    return f"{item.data[:8]} shares patients with other sets: {item.shared} of their rounds are in its epsilon"


def _next(following: Next, policy: Policy) -> str:
    cost = following.cost
    answer = f"the policy refuses it: {following.refusal}" if following.refusal else "the policy allows it"
    rest = left(policy, cost.total_planned)
    return (
        f"next run, {following.rounds} rounds on {following.patients} patients with noise multiplier "
        f"{following.noise_multiplier:.3g}: epsilon {_number(cost.run_planned)} at delta {cost.delta:.2g}; "
        f"in total {_number(cost.total_planned)} instead of {_number(cost.total_before)}"
        f"{'' if rest is None else f', left {_number(rest)}'}; {answer}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
