"""The listener for sites passes fleet and health, and nothing else, whatever a request looks like."""

import asyncio

import pytest

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


def request(path, headers=(), pieces=(b"",)):
    sent = []
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(OnlyForSites(inner)(scope, receive, send))
    return sent[0]["status"]


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
