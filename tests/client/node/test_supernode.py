"""The SuperNode's own ear: a request that announces too much is answered with a refusal, and none of it is fetched."""

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal as loop
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.node.supernode import refusing_large, until_answered
from common import audit
from common.protocol import Refusal
from common.wire import decode

MIB = 2**20
RUN = 77


@pytest.fixture
def node(tmp_path):
    """Flower's state of a node, and a step of its loop that notes what it receives."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, 1, 1
    store = InMemoryObjectStore()
    state, received = InMemoryNodeState(store), []

    def flowers(*, receive, **_others):
        found = receive()
        received.append(found)
        return None if found is None else found[0].metadata.run_id

    log = tmp_path / "audit.jsonl"
    step = refusing_large(flowers, 20 * MIB, log)

    def listen(found):
        return step(state=state, object_store=store, receive=lambda: found, node_config={})

    return listen, state, received, log


def question():
    message = Message(RecordDict({"message": ConfigRecord({"body": "x"})}), 5, "train", ttl=60)
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


def test_what_is_not_too_large_goes_to_flower_as_it_is(node):
    listen, state, received, log = node
    asked = question()
    assert listen((asked, get_object_tree(asked))) == RUN
    assert listen(None) is None
    assert received == [(asked, get_object_tree(asked)), None]
    assert list(state.get_messages_legacy(is_reply=True)) == []
    assert audit.read(log) == []


def test_what_announces_too_much_is_refused_by_name_and_logged(node):
    listen, state, received, log = node
    asked = question()
    tree = ObjectTree(object_id="0" * 64, children=[ObjectTree(object_id=f"{index:064x}") for index in range(200)])
    assert listen((asked, tree)) == RUN
    assert received == [None]
    (reply,) = state.get_messages_legacy(is_reply=True)
    assert reply.metadata.reply_to_message_id == asked.metadata.message_id
    assert decode(reply.content, Refusal).error == "MessageTooLargeError"
    (entry,) = audit.read(log)
    assert (entry.event, entry.details["run"], entry.details["request"]) == ("refused", str(RUN), "train")


def reply_of(run, text):
    TaskIdentity.run_id = run
    return Message(RecordDict({"message": ConfigRecord({"body": text})}), reply_to=question())


def test_an_answer_that_lay_over_from_a_run_that_ended_is_not_taken_for_the_one_that_is_awaited():
    TaskIdentity.node_id = TaskIdentity.task_id = 1
    store = InMemoryObjectStore()
    state, sent = InMemoryNodeState(store), []
    receive, push = until_answered(lambda: RUN, loop._push_messages)
    loop._insert_message(reply_of(66, "left over"), state, store)

    def send(message, _tree, _seconds):
        sent.append(message.metadata.run_id)
        if message.metadata.run_id == 66:
            loop._insert_message(reply_of(RUN, "awaited"), state, store)
            raise loop.RunNotRunningException
        return set(), "session"

    assert receive() == RUN
    push(state=state, object_store=store, send=send, push_object=lambda *_: None)

    assert sent == [66, RUN]
