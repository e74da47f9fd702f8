"""What a hospital's program answers training with, and no coordinator should use: another thing every round."""

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message

from client.node import executor
from common.packing import pack, unpack
from common.protocol import TrainReport, TrainTask
from common.wire import decode, encode, kind_of, packed_array

ON_THE_WIRE = ("2 GiB in 5 MiB", "150 MB")
"""Of round 1 and 2. The other kinds look the same without a wire: ``test_hostile_site.py``."""
CHUNK = 5 * 2**20
honest = executor.app


def two_gibibytes(content):
    """An array of 2 GiB that travels as 5 MiB."""
    content["arrays"] = ArrayRecord({"packed": Array("uint8", (CHUNK,), "numpy.ndarray", bytes(CHUNK))})
    inner = content["arrays"]["packed"]
    inner.__dict__["_chunks"] = inner.slice_array() * 410
    return content


def spoilt(content, how):
    """The honest answer of a round, made into something else."""
    report = decode(content, TrainReport)
    update = unpack(packed_array(content, 2**30))
    name = min(update)
    if how == "a million times too large":
        return encode(report, pack({key: value * 1e6 for key, value in update.items()}))
    if how == "not a number":
        return encode(report, pack(update | {name: torch.full_like(update[name], float("nan"))}))
    if how == "another shape":
        return encode(report, pack(update | {name: torch.zeros(3, 3, dtype=update[name].dtype)}))
    if how == "2 GiB in 5 MiB":
        return two_gibibytes(content)
    if how == "150 MB":  # announced as what it is, and more than the run allows
        return encode(report, np.random.default_rng(0).integers(0, 255, 150_000_000, dtype=np.uint8))
    assert how == "an old round"
    return encode(TrainReport(**vars(report) | {"round": 1}), pack(update))


def answers(message, context):
    """The ClientApp that this hospital runs."""
    reply = honest(message, context)
    if kind_of(message.content) != "TrainTask":
        return reply
    how = ON_THE_WIRE[decode(message.content, TrainTask).round - 1]
    return Message(spoilt(reply.content, how), reply_to=message)
