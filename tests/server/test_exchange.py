"""A question that gets lost is asked again; sites are told apart by their keys; the clock is a real one."""

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo

from common.errors import WireError
from server import exchange as module
from server.exchange import exchange
from simulations.local_grid import LocalGrid

app = ClientApp()


@app.query("site")
def say_site(message, context):
    return Message(RecordDict({"r": ConfigRecord({"site": context.node_config["site"]})}), reply_to=message)


class Unsteady(LocalGrid):
    """A LocalGrid in which questions to TUH get lost: ``losses`` says how, one after the other."""

    def __init__(self, losses):
        super().__init__(app, {name: {"site": name} for name in ("MCS", "TUH")})
        self.losses, self.asked, self.activations = list(losses), [], 0

    def get_nodes(self):
        return [
            NodeInfo(node_id=node.node_id, name=node.name, last_activated_at=str(self.activations))
            for node in super().get_nodes()
        ]

    def push_messages(self, messages):
        kept = dict(self._waiting)
        identifiers = list(super().push_messages(messages))
        self._waiting = kept | self._waiting
        self.asked += [self._nodes[self._waiting[item].metadata.dst_node_id].name for item in identifiers]
        return identifiers

    def _work(self, message):
        if self._nodes[message.metadata.dst_node_id].name != "TUH" or not self.losses:
            return super()._work(message)
        loss = self.losses.pop(0)
        if loss == "silent":  # the node was restarted: no error, no answer, only another activation
            self.activations += 1
            return super()._work(self._waiting.popitem()[1]) if self._waiting else self._nothing(message)
        return Message(Error(loss, "lost"), reply_to=message)

    def _nothing(self, message):
        other = Message(RecordDict(), reply_to=message)
        other.metadata.__dict__["_reply_to_message_id"] = "none of ours"
        return other


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)


def ask(grid, deadline=10.0):
    nodes = {node.name: node.node_id for node in grid.get_nodes()}
    return dict(exchange(grid, nodes, lambda _: RecordDict(), "query.site", "1", deadline))


@pytest.mark.parametrize("loss", [ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE, "silent"])
def test_a_lost_question_is_asked_again_and_answered_once(loss):
    grid = Unsteady([loss])
    answers = ask(grid)
    assert {name: reply["r"]["site"] for name, reply in answers.items()} == {"MCS": "MCS", "TUH": "TUH"}
    assert grid.asked.count("TUH") == 2


def test_without_loss_nobody_is_asked_twice():
    grid = Unsteady([])
    ask(grid)
    assert sorted(grid.asked) == ["MCS", "TUH"]


def test_a_program_that_crashes_again_and_again_is_given_up():
    grid = Unsteady([ErrorCode.CLIENT_APP_CRASHED] * 9)
    answers = ask(grid)
    assert isinstance(answers["TUH"], WireError)
    assert grid.asked.count("TUH") == module.MAXIMUM_CRASHES


def test_a_program_that_raises_is_not_asked_again():
    grid = Unsteady([ErrorCode.CLIENT_APP_RAISED_EXCEPTION])
    assert isinstance(ask(grid)["TUH"], WireError)
    assert grid.asked.count("TUH") == 1


def test_a_site_that_stays_away_misses_the_deadline():
    grid = Unsteady([ErrorCode.NODE_UNAVAILABLE] * 1000)
    assert list(ask(grid, deadline=0.5)) == ["MCS"]
    assert 1 < grid.asked.count("TUH") < module.MAXIMUM_ASKS


def test_a_site_that_loses_every_question_is_given_up_after_longer_and_longer_rests(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.002)
    grid = Unsteady(["silent"] * 1000)
    answers = ask(grid, deadline=60.0)
    assert answers["MCS"]["r"]["site"] == "MCS"
    assert isinstance(answers["TUH"], WireError)
    assert grid.asked.count("TUH") == module.MAXIMUM_ASKS


def test_an_answer_from_another_node_is_not_taken():
    """MCS answers the question that TUH was asked."""

    class Mixed(Unsteady):
        def _work(self, message):
            reply = super()._work(message)
            reply.metadata.__dict__["_src_node_id"] = next(iter(self._nodes))
            return reply

    assert list(ask(Mixed([]), deadline=1.0)) == ["MCS"]


def test_a_reply_that_comes_again_counts_once_now_and_in_later_questions():
    """A replay with its old envelope; one in a new envelope is a stale reply (``test_admission.py``)."""

    class Replaying(LocalGrid):
        heard = ()

        def pull_messages(self, message_ids):
            self.heard = (*self.heard, *super().pull_messages(message_ids))
            return [*self.heard, *self.heard]

    grid = Replaying(app, {name: {"site": name} for name in ("MCS", "TUH")})
    nodes = {node.name: node.node_id for node in grid.get_nodes()}
    for _ in range(3):
        answers = list(exchange(grid, nodes, lambda _: RecordDict(), "query.site", "1", 10.0))
        assert sorted((site, reply["r"]["site"]) for site, reply in answers) == [("MCS", "MCS"), ("TUH", "TUH")]
    assert len(grid.heard) == 6
