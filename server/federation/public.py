"""What sites may reach of the SuperLink: the fleet interface and health; everything else is not there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.supercore.error import ApiErrorCode
from google.protobuf.message import DecodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import MessageTooLargeError
from common.message_size import objects_of

FLEET, HEALTH = "/v1/fleet/", "/health"
ACTIVATE, PUSH = "/v1/fleet/activate-node", "/v1/fleet/push-messages"
MAXIMUM_BODY = FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE + 2**20
"""Bytes of one request; Flower sends models in pieces of 5 MiB."""
MAXIMUM_REPLY = 2**30
"""Bytes that a site may announce for one reply, whatever the model; the run itself is stricter."""
QUIET_SECONDS = 60.0
"""The same refusal is not logged again for so long: nodes try again for ever."""

logger = logging.getLogger("xai_federation.public")


Headers = Mapping[bytes, bytes]


class OnlyForSites:
    """Wraps the SuperLink's application: 404 for every other path, 413 for what is too large.

    The SuperLink reads a whole body before it looks at who sent it; the limit keeps a stranger from
    filling the memory. A node that asks to be let in and cannot be is told why (412, as Flower says it),
    and a reply in another node's name is not passed on (403).

    Args:
        application: the SuperLink's.
        judge: from the headers of a node that asks to be let in to the reason why it is refused, or nothing.
        note: called with the headers of a node that was let in.
    """

    def __init__(
        self,
        application: ASGIApp,
        judge: Callable[[Headers], str] = lambda _: "",
        note: Callable[[Headers], None] = lambda _: None,
    ) -> None:
        self._application, self._judge, self._note = application, judge, note
        self._logged: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            return  # no web sockets, and the lifespan belongs to the inner listener
        path: str = scope["path"]
        if path != HEALTH and (not path.startswith(FLEET) or ".." in path or "//" in path):
            await _refuse(send, 404)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAXIMUM_BODY:
            self._log(f"MessageTooLargeError: a request of {length.decode('latin-1')[:20]} bytes")
            await _refuse(send, 413)
            return
        limited = _limited(receive)
        if path == ACTIVATE:
            if reason := self._judge(headers):
                self._log(reason)
                await _refuse(send, 412, {"code": int(ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED), "detail": reason})
                return
            send = self._noting(headers, send)
        if path == PUSH:
            body = await _whole(limited)
            if body is None:
                self._log("MessageTooLargeError: the announcement of a reply, or its sender went away")
                await _refuse(send, 413)
                return
            if refusal := _reply_refused(body):
                status, reason = refusal
                self._log(reason)
                await _refuse(send, status)
                return
            limited = _again(body, receive)
        await self._application(scope, limited, send)

    def _noting(self, headers: Headers, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self._note(headers)
            await send(message)

        return noting

    def _log(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(reason, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        if len(self._logged) > 1000:
            self._logged.clear()
        self._logged[reason] = now
        logger.warning("refused: %s", reason)


def _reply_refused(body: bytes) -> tuple[int, str] | None:
    """Status and reason if the announcement of a reply must not reach the SuperLink.

    Flower checks the signature of a request against ``node``, and the addressee of the question against
    ``src_node_id`` of the reply, but not that the two are one.
    """
    try:
        request = PushMessagesRequest.FromString(body)
    except DecodeError:
        return 400, "WireError: the announcement of a reply is damaged"
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        return 400, f"WireError: node {request.node.node_id} announces not one reply at a time"
    claimed = request.messages_list[0].metadata.src_node_id
    if claimed != request.node.node_id:
        return 403, f"SiteImpersonated: node {request.node.node_id} sent a reply in the name of node {claimed}"
    try:
        objects_of(request.message_object_trees[0], MAXIMUM_REPLY)
    except MessageTooLargeError as error:
        return 413, f"MessageTooLargeError: a reply of node {request.node.node_id}: {error.what}"
    return None


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        # a body without length that grows too large ends as if the sender had gone away
        return {"type": "http.disconnect"} if taken > MAXIMUM_BODY else message

    return limited


async def _whole(receive: Receive) -> bytes | None:
    """The body of a request, or nothing if the sender went away or it grew too large."""
    pieces, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand a body that was read on as if it had just come, then what really comes."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return parts.pop() if parts else await receive()

    return again


async def _refuse(send: Send, status: int, content: Mapping[str, object] | None = None) -> None:
    body = json.dumps(content).encode() if content else b""
    headers = [
        (b"content-length", str(len(body)).encode()),
        *([(b"content-type", b"application/json")] if body else []),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
