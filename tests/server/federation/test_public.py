"""The listener for sites passes fleet and health, and nothing else, whatever a request looks like."""

import asyncio
import json

import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree
from flwr.proto.node_pb2 import Node

from server.federation import public
from server.federation.public import OnlyForSites


async def inner(scope, receive, send):
    """Echoes how many bytes of body arrived; disconnects are told as 499."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            await send({"type": "http.response.start", "status": 499})
            return
        size += len(message["body"])
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "size": size})


def request(path, headers=(), pieces=(b"",), **more):
    return answer(path, headers, pieces, **more)[0]["status"]


def answer(path, headers=(), pieces=(b"",), **more):
    sent = []
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(OnlyForSites(inner, **more)(scope, receive, send))
    return sent


@pytest.mark.parametrize("path", ["/health", "/v1/fleet/activate-node", "/v1/fleet/pull-messages"])
def test_sites_paths_pass(path):
    assert request(path) == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/v1/fleet", "/v1/fleetx/a",
     "/health/", "/healthx", "/v1/fleet/../control/start-run", "//v1/fleet/a", "/v1/fleet//a", "/V1/FLEET/a", ""],
)  # fmt: skip
def test_other_paths_are_not_there(path):
    assert request(path) == 404


def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_cut_off_when_it_lies(monkeypatch):
    monkeypatch.setattr(public, "MAXIMUM_BODY", 100)
    assert request("/v1/fleet/a", [(b"content-length", b"100")], [b"x" * 100]) == 200
    assert request("/v1/fleet/a", [(b"content-length", b"101")], [b"x" * 101]) == 413
    assert request("/v1/fleet/a", [(b"content-length", b"-1")]) == 413
    assert request("/v1/fleet/a", (), [b"x" * 60, b"x" * 60]) == 499


def test_web_sockets_and_lifespan_are_not_passed_on():
    for kind in ("websocket", "lifespan"):
        asyncio.run(OnlyForSites(inner)({"type": kind, "path": "/v1/fleet/a"}, None, None))


def announcement(node=7, claimed=7, objects=3, messages=1):
    tree = ObjectTree(object_id="0", children=[ObjectTree(object_id=str(index)) for index in range(objects)])
    message = Message(metadata=Metadata(src_node_id=claimed))
    request = PushMessagesRequest(node=Node(node_id=node), messages_list=[message] * messages)
    request.message_object_trees.extend([tree] * messages)
    return request.SerializeToString()


def push(body):
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    return answer(public.PUSH, (), pieces)[0]


def test_a_reply_is_announced_to_the_superlink_unchanged():
    body = announcement()
    assert push(body) == {"type": "http.response.start", "status": 200, "size": len(body)}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (announcement(claimed=8), 403, "SiteImpersonated: node 7 sent a reply in the name of node 8"),
        (announcement(objects=400), 413, "MessageTooLargeError: a reply of node 7"),
        (announcement(messages=2), 400, "not one reply at a time"),
        (announcement(messages=0), 400, "not one reply at a time"),
        (b"\xff\xff\xff", 400, "is damaged"),
    ],
)
def test_an_announcement_that_must_not_pass_is_refused_and_named_in_the_log(body, status, says, caplog):
    assert push(body)["status"] == status
    assert says in caplog.text


def test_the_same_refusal_is_logged_once_in_a_while(caplog):
    door = OnlyForSites(inner)
    for _ in range(50):
        door._log("KeyNotAdmitted: x")
    door._log("KeyNotAdmitted: y")
    assert [record.getMessage()[-1] for record in caplog.records] == ["x", "y"]


def test_a_node_that_is_not_let_in_reads_why_and_one_that_is_is_noted():
    noted = []
    refused = answer(public.ACTIVATE, judge=lambda headers: "ClockWrong: x", note=noted.append)
    assert refused[0]["status"] == 412
    assert json.loads(refused[1]["body"])["detail"] == "ClockWrong: x"
    assert noted == []
    assert request(public.ACTIVATE, [(b"xai-version", b"1")], note=noted.append) == 200
    assert noted == [{b"xai-version": b"1"}]
    assert request("/v1/fleet/pull-messages", judge=lambda headers: "x", note=noted.append) == 200
    assert len(noted) == 1


def test_the_limits_let_flowers_pieces_pass():
    from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE as PIECE

    assert request("/v1/fleet/push-object", [(b"content-length", str(PIECE + 1000).encode())]) == 200
    assert push(announcement(objects=public.MAXIMUM_REPLY // PIECE))["status"] == 200
