"""The process of Flower's SuperNode: ends with its supervisor, and notes when it is connected."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.interceptors.http.utils import add_headers
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode import fleet_http_connection
from flwr.supernode import start_client_internal as loop
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.node.farewell import remember, say_goodbye
from client.node.home import SiteHome, read_settings
from client.node.refusal import refusal_in
from client.node.status import STATE
from common import audit
from common.atomic import write_text
from common.code import CODE_HEADER, VERSION_HEADER, code_digest, software_version
from common.errors import MessageTooLargeError, StorageError
from common.message_size import objects_of
from common.processes import die_with_parent
from common.protocol import Refusal
from common.waiting import Pace, look_often
from common.wire import encode

NUMBER = "number"
"""File in the state folder, beside the one that says "connected"."""
AT_THE_COORDINATOR, AT_THE_EXECUTOR = (0.1, 1.0), 0.05
"""Seconds between two looks for a message there (growing while none comes), and for an answer here."""


class Quick:
    """Stands in for the module ``time`` in Flower's loop, which only ever sleeps: 3 s when the coordinator had no
    message, 0.5 s while the executor works on one.
    """

    def __init__(self) -> None:
        self._pace = Pace(*AT_THE_COORDINATOR)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not for as long."""
        if seconds > 1:
            time.sleep(self._pace.pause())
        else:
            self._pace.restart()
            time.sleep(AT_THE_EXECUTOR)


class _NotesConnection(logging.Handler):
    """Writes a file, and the node's number, when Flower logs that it was let in; another with the reason when not."""

    def __init__(self, connected: Path, refused: Path, number: Path) -> None:
        super().__init__(logging.INFO)
        self._connected, self._refused, self._number = connected, refused, number

    def emit(self, record: logging.LogRecord) -> None:
        """See whether this line is one of the two."""
        text = record.getMessage()
        before, _, number = text.partition("SuperNode ID: ")
        try:
            if not before and number.isdigit():
                remember(self._number, int(number))
                write_text(self._connected, "connected\n")
            elif reason := refusal_in(text):
                write_text(self._refused, reason)
        except StorageError:  # disk full: the node works, its status is out of date
            self.handleError(record)


class _SaysProgram(NodeAuthHttpInterceptor):
    """Signs requests as Flower does, and adds which program this is."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Pass one request on."""
        add_headers(context.request, {VERSION_HEADER: software_version(), CODE_HEADER: code_digest()})
        return super().intercept(context, call_next)


Receive = Callable[[], tuple[Message, ObjectTree] | None]


def refusing_large(original: Callable[..., int | None], maximum: int, log: Path) -> Callable[..., int | None]:
    """Flower's step that receives one request, in front of it a look at how much is announced.

    What is too large is answered with a refusal, and none of it is fetched: Flower would hold all of it
    in memory before our executor sees it.

    Args:
        original: ``_pull_and_store_message`` of Flower's loop.
        maximum: bytes that a request may bring.
        log: the site's audit log.
    """

    def step(*, state: Any, object_store: Any, receive: Receive, **others: Any) -> int | None:
        refused: list[int] = []

        def looked_at() -> tuple[Message, ObjectTree] | None:
            found = receive()
            if found is None:
                return None
            message, tree = found
            try:
                objects_of(tree, maximum)
            except MessageTooLargeError as error:
                run = message.metadata.run_id
                audit.append(log, "refused", run=str(run), request=message.metadata.message_type, error=error.what)
                refusal = Refusal(type(error).__name__, (type(error).__doc__ or "").split("\n")[0])
                loop._insert_message(Message(encode(refusal), reply_to=message), state, object_store)
                refused.append(run)
                return None
            return found

        run = original(state=state, object_store=object_store, receive=looked_at, **others)
        return refused[0] if refused else run

    return step


def until_answered(
    receive: Callable[..., int | None], push: Callable[..., None]
) -> tuple[Callable[..., int | None], Callable[..., None]]:
    """Flower's steps that receive one request and send its answer, the second going on until that answer has gone.

    Flower sends whatever answer there is and asks for the next request. One of a run that was ended meanwhile may lie
    over; taken for the answer, it would leave the true one behind until a next request came, and none would.

    Args:
        receive: ``_pull_and_store_message`` of Flower's loop.
        push: its ``_push_messages``.
    """
    asked: list[int | None] = [None]

    def receive_one(**given: Any) -> int | None:
        asked[0] = receive(**given)
        return asked[0]

    def push_answer(*, send: Callable[..., Any], **others: Any) -> None:
        sent: list[int] = []

        def noted(message: Message, *rest: Any) -> Any:
            sent.append(message.metadata.run_id)
            return send(message, *rest)

        while asked[0] not in sent:
            push(send=noted, **others)

    return receive_one, push_answer


def main() -> None:
    """Entry point of the process; what it is given are Flower's own arguments."""
    die_with_parent()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, kind in (("superlink", str), ("root-certificates", Path), ("auth-supernode-private-key", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    given, _ = parser.parse_known_args()
    home = SiteHome(Path(os.environ[STATE]))
    number = home.connected_file.with_name(NUMBER)
    say_goodbye(given.superlink, given.root_certificates, given.auth_supernode_private_key, number)
    logging.getLogger("flwr").addHandler(_NotesConnection(home.connected_file, home.refused_file, number))
    logging.getLogger("httpx").setLevel(logging.WARNING)
    maximum = read_settings(home).policy.message_bytes
    receive, push = until_answered(
        refusing_large(loop._pull_and_store_message, maximum, home.audit), loop._push_messages
    )
    vars(loop).update(time=Quick(), _pull_and_store_message=receive, _push_messages=push)
    vars(fleet_http_connection)["NodeAuthHttpInterceptor"] = _SaysProgram
    look_often()
    flower_supernode()


if __name__ == "__main__":
    main()
