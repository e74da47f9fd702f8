"""Receiving replies from sites that do their worst: a named error reply each, and the others come through."""

from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedResponse, ObjectTree, PullObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from common.errors import MessageTooLargeError, WireError
from server.exchange import MALFORMED, TOO_LARGE, exchange
from server.federation.bounded_grid import BoundedGrid

MIB = 2**20
MCS, TUH = 11, 12


class Link:
    """The SuperLink's side of a Grid: what was announced and what was uploaded."""

    def __init__(self):
        self.announced, self.objects, self.confirmed, self.pulled = [], {}, [], []
        self.node, self.run, self._runtime_client = Node(node_id=1), SimpleNamespace(run_id=1), self

    def announce(self, reply, tree=None):
        """A reply arrives; its envelope is what the SuperLink has checked."""
        tree = tree or get_object_tree(reply)
        for name, item in get_all_nested_objects(reply).items():
            self.objects[name] = item.deflate()
        envelope = message_to_proto(remove_content_from_message(reply))
        envelope.metadata.message_id = tree.object_id
        self.announced.append((envelope, tree))
        return envelope

    def PullMessages(self, _request):  # noqa: N802 (Flower's name)
        found, self.announced = self.announced, []
        return PullAppMessagesResponse(
            messages_list=[envelope for envelope, _ in found], message_object_trees=[tree for _, tree in found]
        )

    def PullObject(self, request):  # noqa: N802 (Flower's name)
        self.pulled.append(request.object_id)
        content = self.objects.get(request.object_id)
        return PullObjectResponse(
            object_found=content is not None, object_available=True, object_content=content or b""
        )

    def ConfirmMessageReceived(self, request):  # noqa: N802 (Flower's name)
        self.confirmed.append(request.message_object_id)
        return ConfirmMessageReceivedResponse()


def question(node):
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    asked = Message(RecordDict(), node, "train")
    asked.metadata.__dict__["_message_id"] = f"question to {node}"
    return asked


def reply(node, size=100, asked=None):
    array = Array(np.zeros(size, np.uint8))
    content = RecordDict({"message": ConfigRecord({"body": "x"}), "arrays": ArrayRecord({"packed": array})})
    return Message(content, reply_to=asked or question(node))


def received(link, maximum=MIB):
    return list(BoundedGrid(link, maximum).pull_messages(["a"]))


def test_a_good_reply_comes_through_whole():
    link = Link()
    link.announce(reply(TUH, 12_000_000))
    (message,) = received(link, 13_000_000)
    assert len(message.content["arrays"]["packed"].data) == 12_000_128
    assert (message.metadata.src_node_id, message.metadata.reply_to_message_id) == (TUH, f"question to {TUH}")
    assert link.confirmed == [message.metadata.message_id]


def test_a_reply_that_announces_too_much_is_not_fetched_and_the_other_comes_through():
    link = Link()
    many = ObjectTree(object_id="f" * 64, children=[ObjectTree(object_id=f"{index:064x}") for index in range(500)])
    link.announce(reply(TUH), many)
    link.announce(reply(MCS))
    large, good = received(link)
    assert (large.error.code, large.metadata.src_node_id) == (TOO_LARGE, TUH)
    assert "objects are announced" in large.error.reason
    assert good.has_content()
    assert not [name for name in link.pulled if name in {child.object_id for child in many.children}]
    assert many.object_id in link.confirmed


def rubbish(link):
    content = b"Message  3\0abc"
    link.objects[get_object_id(content)] = content
    return ObjectTree(object_id=get_object_id(content))


def a_record(link):
    record = RecordDict({})
    link.objects[record.object_id] = record.deflate()
    return ObjectTree(object_id=record.object_id)


@pytest.mark.parametrize("made", [rubbish, a_record])
def test_parts_that_make_no_message_do_not_end_the_run(made):
    link = Link()
    link.announce(reply(TUH), made(link))
    (message,) = received(link)
    assert (message.error.code, message.error.reason) == (MALFORMED, "the reply's parts make no message")


def test_a_reply_that_was_never_uploaded_may_be_asked_for_again():
    link = Link()
    link.announce(reply(TUH), ObjectTree(object_id="a" * 64))
    (message,) = received(link)
    assert message.error.code == ErrorCode.MESSAGE_UNAVAILABLE


def test_who_answers_what_is_the_envelopes_word_not_that_of_the_parts():
    """MCS sends, in an envelope that the SuperLink checked, a message that says it is TUH's answer."""
    link = Link()
    envelope = link.announce(reply(TUH))
    envelope.metadata.src_node_id, envelope.metadata.reply_to_message_id = MCS, f"question to {MCS}"
    (message,) = received(link)
    assert (message.metadata.src_node_id, message.metadata.reply_to_message_id) == (MCS, f"question to {MCS}")


def test_a_site_cannot_put_words_into_the_coordinators_mouth():
    link = Link()
    link.announce(Message(Error(TOO_LARGE, "<script>"), reply_to=question(TUH)))
    (message,) = received(link)
    assert (message.error.code, message.error.reason) == (ErrorCode.UNKNOWN, "")


def test_a_superlink_that_is_away_is_not_a_sites_fault():
    link = Link()
    link.announce(reply(TUH))

    def away(_request):
        raise httpx.ConnectError("gone")

    link.PullObject = away
    with pytest.raises(httpx.ConnectError):
        received(link)


@pytest.mark.parametrize(("code", "kind"), [(TOO_LARGE, MessageTooLargeError), (MALFORMED, WireError)])
def test_the_round_loop_reads_the_reason_by_name(code, kind):
    class Grid:
        def get_nodes(self):
            return []

        def push_messages(self, messages):
            self.asked = list(messages)
            return ["1"]

        def pull_messages(self, _identifiers):
            self.asked[0].metadata.__dict__["_message_id"] = "1"
            return [Message(Error(code, "so large"), reply_to=self.asked[0])]

    question(TUH)
    ((site, error),) = exchange(Grid(), {"TUH": TUH}, lambda _: RecordDict(), "train", "1", 5.0)
    assert (site, type(error), error.what) == ("TUH", kind, "so large")


def test_all_at_once_gives_what_came_in_time_and_refuses_what_is_too_large():
    link = Link()
    asked = {node: question(node) for node in (MCS, TUH, 13)}

    def push(messages):
        link.announce(reply(MCS, asked=asked[MCS]))
        link.announce(reply(TUH, 3 * MIB, asked=asked[TUH]))
        return [message.metadata.message_id for message in messages]

    link.push_messages = push
    found = BoundedGrid(link, MIB).send_and_receive(asked.values(), timeout=0.3)
    codes = {message.metadata.src_node_id: message.error.code if message.has_error() else 0 for message in found}
    assert codes == {MCS: 0, TUH: TOO_LARGE}
    del asked[13]
    assert len(BoundedGrid(link, MIB).send_and_receive(asked.values())) == 2
