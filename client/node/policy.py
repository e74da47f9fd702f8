"""The site's policy: what a coordinator may ask of this hospital. Checked for every request."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict

from client.privacy.budget import Cost
from common.configuration import TaskConfig, settings
from common.configuration.limits import CHOICES
from common.configuration.loading import valid_keys
from common.errors import ConfigurationError, PolicyRefusalError, PrivacyBudgetError

LEAST_MEMORY_GB = 2.0
"""The executor with PyTorch takes 1.3 GiB before any work."""
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass
class Policy:
    """``policy`` of ``site.yaml``. The defaults allow what the product does and nothing excessive."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    tasks: list[str] = field(default_factory=lambda: ["classifier", "detector"])
    """Tasks that may run here."""
    methods: list[str] = field(default_factory=list)
    """Names of the method rows that may run here; empty = any."""
    local_objectives: list[str] = field(
        default_factory=lambda: ["plain", "proximal", "control_variates", "sharpness_aware", "ditto"]
    )
    """Local objectives that may run here, whatever the row is called."""
    rounds: int = 1000
    """A run with more rounds is refused."""
    ranges: dict[str, list[float]] = field(
        default_factory=lambda: {
            "training.local_epochs": [1, 20],
            "training.batch_size": [1, 256],
            "method.personal_epochs": [0, 50],
            "imaging.height": [32, 2048],
            "imaging.width": [32, 2048],
            "evaluation.explained": [0, 1000],
            "evaluation.background": [1, 64],
            "evaluation.gallery": [0, 50],
        }
    )
    """Setting of the task: lowest and highest value allowed."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Setting of the task: the only value allowed."""
    minimum_patients: int = 8
    """Nothing is trained or measured on fewer patients."""
    tell_shift: bool = True
    """Whether a coordinator may ask what the site's images and patients look like beside those of others."""
    minimum_cell: int | None = None
    """Figures over fewer breasts of either kind, views or lesions are not sent; ``null`` = of calibration bins,
    explanation scores and FROC curves those over fewer than 5."""
    decimals: int | None = None
    """Figures are rounded to so many decimals before they are sent; ``null`` = not at all."""
    minimum_steps: int = 1
    """A round with fewer local steps is refused: an update of one step betrays most of its patients."""
    preprocessing_version: int | None = None
    """The only ``imaging.version`` allowed; ``null`` = that of the installed program."""
    private_tasks: list[str] | None = None
    """Tasks that are only trained with patient-level privacy; ``null`` = all if a largest epsilon is set, else none."""
    maximum_epsilon: float | None = None
    """Of everything that the same patients were ever trained on privately; ``null`` = no limit."""
    maximum_epsilon_run: float | None = None
    """Of one run; ``null`` = no limit."""
    maximum_delta: float | None = None
    """Of a run; ``null`` = less than one over the patients."""
    training_hours: str = ""
    """``20:00-06:00``, local time: training begins only then; empty = always."""
    cores: int = 0
    """CPU cores the executor may use, whatever a task asks for; 0 = all."""
    memory_gb: float = 0.0
    """Memory the executor may take, GiB; 0 = no limit."""
    gpus: list[int] | None = None
    """Numbers of the GPUs the executor may use; empty = none; ``null`` = all."""
    gpu_memory_gb: float = 0.0
    """Memory of each GPU the executor may take, GiB; 0 = no limit."""
    message_mb: float = 1024.0
    """A request (with the model it brings) that is larger is refused, MiB."""

    @property
    def message_bytes(self) -> int:
        """``message_mb`` in bytes."""
        return int(self.message_mb * 2**20)

    def must_be_private(self, task: str) -> bool:
        """Whether a task may only be trained with patient-level privacy."""
        if self.private_tasks is None:
            return self.maximum_epsilon is not None or self.maximum_epsilon_run is not None
        return task in self.private_tasks

    def check_itself(self, where: str) -> None:
        """Refuse a policy that cannot be meant, before it is relied on.

        Raises:
            ConfigurationError: a setting that does not exist, a range that is none, hours that are none.
        """
        known = valid_keys(TaskConfig)
        for key in (*self.ranges, *self.fixed):
            if key not in known:
                raise ConfigurationError(f"policy: '{key}' is not a setting of a task", where=where)
        for key, limits in self.ranges.items():
            if len(limits) != 2 or limits[0] > limits[1]:
                raise ConfigurationError(f"policy: ranges.{key} must be [lowest, highest]", where=where)
        if self.training_hours and not _HOURS.fullmatch(self.training_hours):
            raise ConfigurationError("policy: training_hours must look like 20:00-06:00", where=where)
        amounts = (self.cores, self.memory_gb, self.gpu_memory_gb, *(self.gpus or ()))
        least = (self.rounds, self.minimum_patients, self.minimum_steps, self.message_mb)
        amounts = (*amounts, self.minimum_cell or 0, self.decimals or 0)
        if min(least) < 1 or min(amounts) < 0:
            raise ConfigurationError("policy: a limit is below what makes sense", where=where)
        for name in ("maximum_epsilon", "maximum_epsilon_run", "maximum_delta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < (1 if name == "maximum_delta" else math.inf):
                raise ConfigurationError(f"policy: {name} = {value} makes no sense", where=where, do="above 0, or null")
        for task in self.private_tasks or ():
            if task not in CHOICES["task"]:
                raise ConfigurationError(f"policy: private_tasks: there is no task '{task}'", where=where)
        if 0 < self.memory_gb < LEAST_MEMORY_GB:
            raise ConfigurationError(
                f"policy: memory_gb = {self.memory_gb:g} is less than the program takes when it does nothing",
                where=where,
                do=f"give {LEAST_MEMORY_GB:g} or more",
            )


def check_task(policy: Policy, task: TaskConfig, *, rounds: int = 1) -> None:
    """Refuse a task that the policy does not allow.

    Args:
        policy: the site's.
        task: what was asked.
        rounds: rounds of the run, when the request tells.

    Raises:
        PolicyRefusalError: naming the setting; the text holds nothing of the site but its policy.
    """
    if task.task not in policy.tasks:
        raise PolicyRefusalError(f"task '{task.task}' is not allowed (allowed: {', '.join(policy.tasks)})")
    if policy.methods and task.method.name not in policy.methods:
        raise PolicyRefusalError(f"method '{task.method.name}' is not allowed (allowed: {', '.join(policy.methods)})")
    objective = task.method.local_objective
    if objective not in policy.local_objectives:
        raise PolicyRefusalError(f"method.local_objective '{objective}' is not allowed")
    if rounds > policy.rounds:
        raise PolicyRefusalError(f"{rounds} rounds are not allowed (at most {policy.rounds})")
    version = policy.preprocessing_version
    if version is not None and task.imaging.version != version:
        raise PolicyRefusalError(f"imaging.version = {task.imaging.version} is not allowed (only {version})")
    values = settings(task)
    for key, (low, high) in policy.ranges.items():
        if values[key] is not None and not low <= values[key] <= high:
            raise PolicyRefusalError(f"{key} = {values[key]} is not allowed ({low:g} to {high:g})")
    for key, wanted in policy.fixed.items():
        if values[key] != wanted:
            raise PolicyRefusalError(f"{key} = {values[key]} is not allowed (only {wanted})")


def check_telling(policy: Policy) -> None:
    """Refuse to tell how the site differs from others.

    Raises:
        PolicyRefusalError: naming the setting.
    """
    if not policy.tell_shift:
        raise PolicyRefusalError("this site does not tell what its images and patients look like (policy: tell_shift)")


def check_hours(policy: Policy, now: datetime.time) -> None:
    """Refuse training outside the allowed hours.

    Raises:
        PolicyRefusalError: with the hours.
    """
    found = _HOURS.fullmatch(policy.training_hours)
    if not found:
        return
    begin, end = datetime.time(int(found[1]), int(found[2])), datetime.time(int(found[3]), int(found[4]))
    inside = begin <= now < end if begin <= end else (now >= begin or now < end)
    if not inside:
        raise PolicyRefusalError(f"training is allowed from {begin:%H:%M} to {end:%H:%M} only")


def check_patients(policy: Policy, patients: int) -> None:
    """Refuse to work on fewer patients than the policy asks for.

    Raises:
        PolicyRefusalError: naming the limit, not the number.
    """
    if patients < policy.minimum_patients:
        raise PolicyRefusalError(f"fewer than {policy.minimum_patients} patients (policy: minimum_patients)")


def check_private(policy: Policy, task: TaskConfig) -> None:
    """Refuse training without patient-level privacy where the policy asks for it.

    Raises:
        PolicyRefusalError: naming the setting.
    """
    if task.privacy.unit != "patient" and policy.must_be_private(task.task):
        raise PolicyRefusalError(
            f"task '{task.task}' is only trained with patient-level privacy here, privacy.unit = {task.privacy.unit}"
        )


def check_steps(policy: Policy, steps: int) -> None:
    """Refuse a round whose update would be of too few local steps.

    Raises:
        PolicyRefusalError: naming the limit, not the number.
    """
    if steps < policy.minimum_steps:
        raise PolicyRefusalError(f"fewer than {policy.minimum_steps} local steps in a round (policy: minimum_steps)")


def check_budget(policy: Policy, cost: Cost, *, whole_run: bool) -> None:
    """Refuse what the patients' privacy budget does not allow.

    Args:
        policy: the site's.
        cost: of the run.
        whole_run: judge all its rounds, as long as none has begun; else the next round.

    Raises:
        PrivacyBudgetError: naming the limit; what other runs have spent is not told.
    """
    if policy.maximum_delta is not None and cost.delta > policy.maximum_delta:
        raise PrivacyBudgetError(
            f"delta {cost.delta:.3g} is not allowed (policy: maximum_delta = {policy.maximum_delta:g})"
        )
    whole_run = whole_run and not cost.run_before  # a resumed run may go on as far as the budget goes
    of_run, of_all = (cost.run_planned, cost.total_planned) if whole_run else (cost.run_after, cost.total_after)
    if policy.maximum_epsilon_run is not None and of_run > policy.maximum_epsilon_run:
        price = "the run would cost" if whole_run else "one more round would take the run to"
        raise PrivacyBudgetError(
            f"{price} epsilon {of_run:.3g} (policy: maximum_epsilon_run = {policy.maximum_epsilon_run:g})"
        )
    if policy.maximum_epsilon is not None and of_all > policy.maximum_epsilon:
        what = "the run" if whole_run else "one more round"
        raise PrivacyBudgetError(
            f"{what} would overrun the budget of this site's patients "
            f"(policy: maximum_epsilon = {policy.maximum_epsilon:g})"
        )
