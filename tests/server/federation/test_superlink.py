"""The door for sites in front of a real SuperLink: who is let in, and whose answers count. No processes, no sockets."""

import datetime
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, TIMESTAMP_HEADER
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    NOOP_FEDERATION_ID,
    TaskType,
)
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.task_identity import TaskIdentity
from starlette.testclient import TestClient

from common.enrolment import openssh
from server.federation.founding import found, now
from server.federation.home import FederationHome, FederationSettings
from server.federation.knocking import reason_to_refuse
from server.federation.public import OnlyForSites
from server.federation.registry import AdmittedSite
from server.federation.superlink import application

KEYS = {name: ec.generate_private_key(ec.SECP384R1()) for name in ("MCS", "TUH", "STRANGER")}
SERVER = 1


class Coordinator:
    """A SuperLink with two registered keys, a run, and the door that sites see."""

    def __init__(self, inner):
        self.state = inner.state.linkstate_factory.state()
        self.nodes = {
            name: self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public(name), 0, name=name)
            for name in ("MCS", "TUH")
        }
        admitted = [AdmittedSite(name, openssh(KEYS[name].public_key()), "2026-01-01") for name in self.nodes]
        self.door = TestClient(OnlyForSites(inner, lambda headers: reason_to_refuse(headers, admitted, now())))
        self.run = self.state.create_run(
            "a/b", "1", "h", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        task = self.state.get_run_info(run_ids=[self.run])[0].primary_task_id
        assert self.state.claim_task(task) and self.state.activate_task(task)

    def post(self, name, path, request, claimed=None, hours=0):
        """A request signed with the key of ``name``; ``claimed``: whose public key it shows."""
        time = (now() + datetime.timedelta(hours=hours)).isoformat()
        headers = {
            "content-type": PROTOBUF_MEDIA_TYPE,
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public(claimed or name)).decode(),
            TIMESTAMP_HEADER: time,
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(KEYS[name], time.encode())).decode(),
        }
        return self.door.post(f"/v1/fleet/{path}", content=request.SerializeToString(), headers=headers)

    def activate(self, name, claimed=None, hours=0):
        request = ActivateNodeRequest(public_key=public(claimed or name), heartbeat_interval=30)
        return self.post(name, "activate-node", request, claimed, hours)

    def ask(self, site):
        """A question to a site, as the ServerApp sends it; returns it."""
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run, SERVER, 1
        question = Message(RecordDict({"q": ConfigRecord({"text": "train"})}), self.nodes[site], "train", ttl=60)
        question.metadata.__dict__["_message_id"] = question.object_id
        assert self.state.store_message_ins(remove_content_from_message(question))
        return question

    def send(self, signer, reply, node=None):
        """Announce a reply at the door; returns status, and the objects that the SuperLink wants uploaded."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        request = PushMessagesRequest(
            node=Node(node_id=node or self.nodes[signer]),
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
        )
        answer = self.post(signer, "push-messages", request)
        wanted = PushMessagesResponse.FromString(answer.content).objects_to_push if answer.is_success else []
        return answer.status_code, len(wanted)

    def received(self, question):
        """Identifiers of the replies to a question that the ServerApp would be given."""
        found = self.state.get_message_res({question.metadata.message_id}, run_id=self.run)
        return [reply.metadata.message_id for reply in found if not reply.has_error()]


def public(name):
    return public_key_to_bytes(KEYS[name].public_key())


def answer_to(question, text="trained", **forged):
    reply = Message(RecordDict({"a": ConfigRecord({"text": text})}), reply_to=question)
    reply.metadata.__dict__.update({f"_{key}": value for key, value in forged.items()})
    return reply


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory):
    home = FederationHome(tmp_path_factory.mktemp("federation") / "home")
    found(home, FederationSettings("test", "127.0.0.1", sites=["MCS", "TUH"]))
    inner = application(home, 1)
    with TestClient(inner):
        made = Coordinator(inner)
        for name in ("MCS", "TUH"):
            assert ActivateNodeResponse.FromString(made.activate(name).content).node_id == made.nodes[name]
        yield made


@pytest.mark.parametrize(
    ("who", "status", "says"),
    [
        ({"name": "STRANGER"}, 412, "KeyNotAdmitted: the key SHA256:"),
        ({"name": "TUH", "hours": 1}, 412, "ClockWrong: the clock of TUH is 60 min ahead"),
        ({"name": "TUH", "hours": -1}, 412, "ClockWrong: the clock of TUH is 60 min behind"),
        ({"name": "MCS", "claimed": "TUH"}, 401, "Invalid SuperNode authentication"),
    ],
    ids=["unregistered key", "an hour ahead", "an hour behind", "MCS key claiming TUH"],
)
def test_who_is_not_let_in_reads_why(coordinator, who, status, says):
    answer = coordinator.activate(**who)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_an_answer_counts_once_and_a_second_one_is_not_taken(coordinator):
    """The same answer sent again is the same answer; another one to the same question is refused."""
    question = coordinator.ask("TUH")
    reply = answer_to(question)
    status, wanted = coordinator.send("TUH", reply)
    assert (status, wanted > 0) == (200, True)
    coordinator.send("TUH", reply)
    assert coordinator.send("TUH", answer_to(question, "trained better"))[1] == 0
    assert coordinator.received(question) == [reply.object_id]


def test_an_answer_to_a_question_of_the_past_is_not_taken(coordinator):
    question = coordinator.ask("TUH")
    coordinator.send("TUH", answer_to(question))
    coordinator.state.delete_messages({question.metadata.message_id})  # its round is over
    assert coordinator.send("TUH", answer_to(question, "again"))[1] == 0
    assert coordinator.received(question) == []


def test_mcs_cannot_answer_for_tuh_whatever_it_writes(coordinator):
    question = coordinator.ask("TUH")
    mcs = coordinator.nodes["MCS"]
    assert coordinator.send("MCS", answer_to(question))[0] == 403  # says it is TUH
    assert coordinator.send("MCS", answer_to(question), node=coordinator.nodes["TUH"])[0] == 401
    assert coordinator.send("MCS", answer_to(question, src_node_id=mcs))[1] == 0  # says it is MCS
    assert coordinator.received(question) == []
