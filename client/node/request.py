"""One request of the coordinator: is it allowed here, how large is it, and how is it refused?"""

from __future__ import annotations

import datetime
import math

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from client.app import refusal_of
from client.node.policy import (
    Policy,
    check_budget,
    check_hours,
    check_patients,
    check_private,
    check_steps,
    check_task,
    check_telling,
)
from client.privacy.spending import Asked, is_private, learners, plan
from client.site import Site, load_site
from client.tasks.work import work_of
from common.configuration import TaskConfig, task_from_yaml
from common.data.dataset import SiteData
from common.data.scale import unscaled
from common.errors import PolicyRefusalError
from common.protocol import DescribeTask, EvaluateTask, Refusal, ScaleTask, ShiftTask, TrainTask
from common.wire import decode, encode, kind_of

_ALLOWED = {
    "train": "TrainTask",
    "evaluate": "EvaluateTask",
    "query.describe": "DescribeTask",
    "query.scale": "ScaleTask",
    "query.shift": "ShiftTask",
}


def check_request(policy: Policy, site: Site, asked: str, content: RecordDict, now: datetime.time) -> None:
    """Refuse what is none of the questions a coordinator may ask, or what the policy does not allow.

    Args:
        policy: the site's.
        site: where its data lie.
        asked: Flower's type of the message.
        content: of the message.
        now: local time.

    Raises:
        PolicyRefusalError: naming what is not allowed; of privacy budgets ``PrivacyBudgetError``.
        XaiFederationError: anything wrong with the task or the site's data, by name.
    """
    if kind_of(content) != _ALLOWED.get(asked):
        raise PolicyRefusalError("only describe, train and evaluate, and queries of scale and shift, are answered")
    if asked == "train":
        order = decode(content, TrainTask)
        task = task_from_yaml(order.task)
        check_task(policy, task, rounds=order.rounds)
        check_private(policy, task)
        check_hours(policy, now)
        ask = Asked(order.run, order.round, order.rounds)
    elif asked == "evaluate":
        measuring = decode(content, EvaluateTask)
        task = task_from_yaml(measuring.task)
        check_task(policy, task)
        if measuring.final and measuring.continues and task.method.personal_epochs:  # then the site also trains
            check_private(policy, task)
            check_hours(policy, now)
        ask = None
    else:
        told = _query(asked, content)
        task = task_from_yaml(told.task)
        ask = None
        if isinstance(told, DescribeTask):
            check_task(policy, task, rounds=told.rounds)
            ask = Asked(told.run, 0, told.rounds) if told.rounds else None
        else:
            check_task(policy, task)
            if isinstance(told, ShiftTask):
                check_telling(policy)
        if ask:
            check_private(policy, task)
        task = unscaled(task)
    data = load_site(site, task)
    check_patients(policy, data.patients)
    if ask:
        _check_training(policy, site, data.of_split("train"), task, ask, whole_run=asked != "train")


def _check_training(
    policy: Policy, site: Site, data: SiteData, task: TaskConfig, ask: Asked, *, whole_run: bool
) -> None:
    """What the policy says of a round's steps and of the patients' budget; before the first round, of the whole run."""
    if is_private(task):
        planned = plan(site.state, learners(data, task), task, ask)
        check_steps(policy, planned.steps.steps)
        check_budget(policy, planned.cost, whole_run=whole_run)
    elif policy.minimum_steps > 1:
        check_steps(policy, _steps(data, task))


def _steps(data: SiteData, task: TaskConfig) -> int:
    """Local steps of a round without privacy."""
    work, training = work_of(task), task.training
    visits = len(work.epoch(work.trainable(data, task), task, np.random.default_rng(0)))
    return training.local_epochs * math.ceil(visits / training.batch_size)


def _query(asked: str, content: RecordDict) -> DescribeTask | ScaleTask | ShiftTask:
    match asked:
        case "query.scale":
            return decode(content, ScaleTask)
        case "query.shift":
            return decode(content, ShiftTask)
        case _:
            return decode(content, DescribeTask)


def refuse(message: Message, error: Exception) -> Message:
    """The refusal that leaves the site: the error's name and general meaning; of a policy also its text."""
    if isinstance(error, PolicyRefusalError):
        return Message(encode(Refusal(type(error).__name__, error.what)), reply_to=message)
    return Message(refusal_of(error), reply_to=message)


def size_of(content: RecordDict) -> int:
    """Bytes of a message's texts and arrays, before the transport adds its own."""
    total = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            total += sum(len(array.data) for array in record.values())
        elif isinstance(record, ConfigRecord):
            total += sum(len(str(value).encode()) for value in record.values())
    return total
