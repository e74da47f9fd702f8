"""Flower's Grid in one process: messages go straight to each site's ClientApp, no network, no Ray."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID, SERVER_NODE, TASK_ID = 1, 1, 1

logger = logging.getLogger("xai_federation.grid")


@dataclass(frozen=True)
class LocalNode:
    """One simulated site: the app it runs and the context it runs in."""

    name: str
    app: ClientApp
    context: Context


class LocalGrid(Grid):
    """Runs the very ServerApp and ClientApp objects of a deployment in this process.

    A message is worked on when its reply is pulled, one a pull, so that the server sees replies
    arrive one after the other. A ClientApp that raises gives an error reply, as a SuperNode would.
    """

    def __init__(self, app: ClientApp, node_configs: Mapping[str, Mapping[str, str]]) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SERVER_NODE, TASK_ID
        self._run = Run.create_empty(RUN_ID)
        self._ids = itertools.count(1)
        self._waiting: dict[str, Message] = {}
        self._nodes: dict[int, LocalNode] = {}
        for number, (name, node_config) in enumerate(node_configs.items(), SERVER_NODE + 1):
            context = Context(RUN_ID, number, dict(node_config), RecordDict(), {})
            self._nodes[number] = LocalNode(name, app, context)

    def set_run(self, run: Run) -> None:
        """Take over another run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run this grid belongs to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message (Flower's older way; ``Message(...)`` does the same)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all sites."""
        return list(self._nodes)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All sites, with the names they are registered under."""
        return [NodeInfo(node_id=number, name=node.name) for number, node in self._nodes.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; returns their ids. What an earlier question left unanswered at its deadline is dropped."""
        self._waiting.clear()
        ids = []
        for message in messages:
            identifier = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = identifier
            self._waiting[identifier] = message
            ids.append(identifier)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Work on the oldest queued message among ``message_ids`` and return its reply."""
        due = sorted((identifier for identifier in message_ids if identifier in self._waiting), key=int)
        return [self._work(self._waiting.pop(due[0]))] if due else []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Queue messages and return all replies; ``timeout`` has no meaning in one process."""
        ids = list(self.push_messages(messages))
        return [reply for identifier in ids for reply in self.pull_messages([identifier])]

    def _work(self, message: Message) -> Message:
        node = self._nodes[message.metadata.dst_node_id]
        try:
            reply = node.app(message, node.context)
        except Exception:  # a site's crash must look here as it looks to a deployed server
            logger.error("the program of site %s failed:\n%s", node.name, traceback.format_exc())
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "the ClientApp raised"), reply_to=message)
        reply.metadata.__dict__["_message_id"] = str(next(self._ids))
        return reply
