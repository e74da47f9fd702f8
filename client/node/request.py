"""One request of the coordinator: is it allowed here, how large is it, and how is it refused?"""

from __future__ import annotations

import datetime

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from client.app import refusal_of
from client.node.policy import Policy, check_hours, check_patients, check_task
from client.site import Site, load_site
from common.configuration import task_from_yaml
from common.data.scale import unscaled
from common.errors import PolicyRefusalError
from common.protocol import (
    DescribeTask,
    EvaluateTask,
    Refusal,
    ScaleTask,
    ShiftTask,
    TrainTask,
    decode,
    encode,
    kind_of,
)

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
        PolicyRefusalError: naming what is not allowed.
        XaiFederationError: anything wrong with the task or the site's data, by name.
    """
    if kind_of(content) != _ALLOWED.get(asked):
        raise PolicyRefusalError("only describe, train and evaluate, and queries of scale and shift, are answered")
    if asked == "train":
        order = decode(content, TrainTask)
        task = task_from_yaml(order.task)
        check_task(policy, task, rounds=order.rounds)
        check_hours(policy, now)
    elif asked == "evaluate":
        task = task_from_yaml(decode(content, EvaluateTask).task)
        check_task(policy, task)
    else:
        task = task_from_yaml(_query(asked, content).task)
        check_task(policy, task)
        task = unscaled(task)
    check_patients(policy, load_site(site, task).patients)


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
