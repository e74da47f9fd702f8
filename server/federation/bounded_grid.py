"""Flower's Grid, on its guard: a reply that is too large or no message becomes an error reply with a name.

Flower's own fetches whatever a site announces, joins it in memory, ends the run when the parts make
no message, and believes the parts rather than the envelope about who answers what.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable

import httpx
from flwr.app import Message, RecordDict
from flwr.app.error import Error
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto
from flwr.proto import message_pb2
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.superlink.grid import HttpGrid

from common.errors import MessageTooLargeError
from common.message_size import fetch
from common.waiting import FIRST_PAUSE, LONGEST_PAUSE, Pace
from server.exchange import MALFORMED, TOO_LARGE

logger = logging.getLogger("xai_federation.grid")


class BoundedGrid(Grid):
    """Everything as ``grid`` does it, except receiving: no reply may hold an array of more than ``maximum`` bytes."""

    def __init__(self, grid: HttpGrid, maximum: int) -> None:
        self._grid, self._maximum = grid, maximum

    def set_run(self, run: Run) -> None:
        """Take over a run's description."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run this grid belongs to."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message (Flower's older way; ``Message(...)`` does the same)."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Numbers of the connected nodes."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The connected nodes, with the names their keys are registered under."""
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; returns their identifiers."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there."""
        found = self._grid._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
        return [
            self._receive(envelope, tree)
            for envelope, tree in zip(found.messages_list, found.message_object_trees, strict=True)
        ]

    def _receive(self, envelope: message_pb2.Message, tree: message_pb2.ObjectTree) -> Message:
        try:
            return self._unpack(envelope, tree)
        except MessageTooLargeError as error:
            code, reason = TOO_LARGE, error.what
        except ObjectPullError as error:  # the site did not finish sending, so it may be asked again
            code, reason = ErrorCode.MESSAGE_UNAVAILABLE, str(error)
        except httpx.HTTPError:  # the SuperLink is away, not the site at fault
            raise
        except Exception as error:  # whatever a site makes up, it does not end the run
            logger.warning("a reply cannot be put together", exc_info=error)
            code, reason = MALFORMED, "the reply's parts make no message"
        self._confirm(envelope.metadata.message_id)
        return make_message(message_from_proto(envelope).metadata, error=Error(code, reason))

    def _unpack(self, envelope: message_pb2.Message, tree: message_pb2.ObjectTree) -> Message:
        pull = make_pull_object_fn_protobuf(
            self._grid._runtime_client.PullObject, self._grid.node, self._grid.run.run_id
        )
        contents = fetch(tree, pull, self._maximum)
        inner = inflate_object_from_contents(tree.object_id, contents)
        if not isinstance(inner, Message):
            raise TypeError(f"a reply is a {type(inner).__name__}")
        self._confirm(envelope.metadata.message_id)
        metadata = message_from_proto(envelope).metadata  # checked by the SuperLink; the inner one is the site's word
        if inner.has_content():
            return make_message(metadata, content=inner.content)
        code = inner.error.code if inner.error.code not in (TOO_LARGE, MALFORMED) else ErrorCode.UNKNOWN
        return make_message(metadata, error=Error(code, ""))

    def _confirm(self, identifier: str) -> None:
        """Let the SuperLink throw the reply away."""
        request = message_pb2.ConfirmMessageReceivedRequest(
            node=self._grid.node, run_id=self._grid.run.run_id, message_object_id=identifier
        )
        with contextlib.suppress(httpx.HTTPStatusError):
            self._grid._runtime_client.ConfirmMessageReceived(request)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and return the replies that came within ``timeout`` seconds (``None``: all, however long).

        The round loop has its own way, which knows sites and asks again (``server.exchange``).
        """
        waiting, replies, pace = set(self.push_messages(messages)), [], Pace(FIRST_PAUSE, LONGEST_PAUSE)
        end = None if timeout is None else time.monotonic() + timeout
        while waiting and (end is None or time.monotonic() < end):
            found = list(self.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in found}
            replies += found
            if not found:
                time.sleep(pace.pause())
        return replies
