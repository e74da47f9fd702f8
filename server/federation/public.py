"""What sites may reach of the SuperLink: the fleet interface and health; everything else is not there."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

FLEET, HEALTH = "/v1/fleet/", "/health"
MAXIMUM_BODY = 64 * 2**20
"""Bytes of one request; Flower sends models in pieces of some megabytes."""


class OnlyForSites:
    """Wraps the SuperLink's application: 404 for every other path, 413 for a body that is too large.

    The SuperLink reads a whole body before it looks at who sent it; the limit keeps a stranger from
    filling the memory.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            return  # no web sockets, and the lifespan belongs to the inner listener
        path: str = scope["path"]
        if path != HEALTH and (not path.startswith(FLEET) or ".." in path or "//" in path):
            await _refuse(send, 404)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAXIMUM_BODY:
            await _refuse(send, 413)
            return
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            # a body without length that grows too large ends as if the sender had gone away
            return {"type": "http.disconnect"} if taken > MAXIMUM_BODY else message

        await self._application(scope, limited, send)


async def _refuse(send: Send, status: int) -> None:
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})
