"""A hospital whose program answers training with what no coordinator should use: another thing every round.

Started by ``test_deployed.py`` in the place of ``xai-client``: everything else is the real node.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message

from client.node import executor, supervisor
from client.node.home import SiteHome
from common.packing import pack, unpack
from common.processes import Child
from common.protocol import TrainReport, TrainTask, decode, encode, kind_of, packed_array
from common.stopping import stop_on_signals

CHUNK = 5 * 2**20
honest = executor.app


def two_gibibytes(content):
    """An array of 2 GiB that travels as 5 MiB."""
    content["arrays"] = ArrayRecord({"packed": Array("uint8", (CHUNK,), "numpy.ndarray", bytes(CHUNK))})
    inner = content["arrays"]["packed"]
    inner.__dict__["_chunks"] = inner.slice_array() * 410
    return content


def spoilt(content, number):
    """The honest answer of a round, made into something else."""
    report = decode(content, TrainReport)
    update = unpack(packed_array(content, 2**30))
    name = min(update)
    if number == 1:
        return encode(report, pack({key: value * 1e6 for key, value in update.items()}))
    if number == 2:
        return encode(report, pack(update | {name: torch.full_like(update[name], float("nan"))}))
    if number == 3:
        return encode(report, pack(update | {name: torch.zeros(3, 3, dtype=update[name].dtype)}))
    if number == 4:
        return two_gibibytes(content)
    if number == 5:  # announced as what it is, and more than the run allows
        return encode(report, np.random.default_rng(0).integers(0, 255, 150_000_000, dtype=np.uint8))
    return encode(TrainReport(**vars(report) | {"round": 1}), pack(update))


def answers(message, context):
    """The ClientApp that this hospital runs."""
    reply = honest(message, context)
    if kind_of(message.content) != "TrainTask":
        return reply
    return Message(spoilt(reply.content, decode(message.content, TrainTask).round), reply_to=message)


class OwnExecutor(Child):
    """A supervised process; the executor is this file."""

    def start(self):
        if self.name == "executor":
            self.command = [sys.executable, __file__, "executor", *self.command[4:]]
        super().start()


if __name__ == "__main__":
    if sys.argv[1] == "executor":
        sys.argv[1:] = sys.argv[2:]
        executor.app = answers
        executor.main()
    else:
        supervisor.Child = OwnExecutor
        supervisor.run_node(SiteHome(Path(sys.argv[1])), stop_on_signals())
