"""The executor's side of the SuperNode's interface on loopback: take a request, hand over the answer."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.common.serde import context_from_proto, message_from_proto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    AcquireTaskResponse,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from common.errors import MessageTooLargeError
from common.message_size import fetch

_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})
_WANTED = (TaskType.CLIENT_APP, TaskType.AGENT_APP)
LOST = (httpx.HTTPError, RuntimeError, ValueError, TypeError, LookupError, ObjectPullError, ObjectPushError)
"""What may go wrong when the SuperNode or the run is gone; the coordinator asks again if it wants the answer."""

logger = logging.getLogger("xai_federation.executor")


@dataclass
class Source:
    """Where requests come from: the SuperNode at ``address`` (``host:port`` on loopback), with the shared secret."""

    address: str
    secret: bytes
    stopping: threading.Event
    newer: list[AcquireTaskResponse] = field(default_factory=list)
    """Requests that were found while an earlier one was waited for."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._client = _client(
            self.address,
            SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods=_ACQUIRE),
            "SuperExec",
        )

    def next(self) -> AcquireTaskResponse | None:
        """The next request, if there is one."""
        return self.newer.pop(0) if self.newer else self._acquire()

    def _acquire(self) -> AcquireTaskResponse | None:
        try:
            found = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=_WANTED))
        except httpx.HTTPError as error:
            logger.debug("the SuperNode does not answer: %s", error)
            return None
        return found if found.token else None

    def withdrawn(self) -> bool:
        """Whether a request that is still waited for will never be complete.

        Flower's SuperNode leaves a request behind, for ever incomplete, when its run ends while the
        model is under way. It works on one request at a time: if there is a newer one, this is over.
        """
        with self._lock:
            if not self.newer and (found := self._acquire()):
                self.newer.append(found)
            return bool(self.newer) or self.stopping.is_set()


@dataclass(frozen=True)
class Taken:
    """One request with what Flower says about it."""

    message: Message
    run: str
    bundle: str
    """Digest of the app that the coordinator sent along; for the log, it is never opened."""
    problem: MessageTooLargeError | None = None
    """Why the message has no content here: it was too large to be fetched."""


class Handover:
    """The life of one request at the SuperNode, from its token to the answer."""

    def __init__(self, source: Source, token: str) -> None:
        self._source = source
        self._client = _client(source.address, RuntimeTokenHttpInterceptor(token), "flwr-clientapp")

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Tell the SuperNode inside the block that the request is being worked on."""
        heartbeat = HeartbeatSender(self._beat)
        heartbeat.start()
        try:
            yield
        finally:
            heartbeat.stop()
            self._client.close()

    def _beat(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        return True

    def take(self, maximum: int) -> Taken:
        """Receive the request.

        Args:
            maximum: bytes that it may bring.

        Raises:
            ObjectPullError: it will never be complete.
            RuntimeError: there is no message.
            httpx.HTTPError: the SuperNode does not answer.
        """
        given = self._client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        found = self._client.PullMessages(PullAppMessagesRequest())
        if not found.messages_list:
            raise RuntimeError("the SuperNode has no message for this request")
        self._context = context_from_proto(given.context)
        node, tree = Node(node_id=given.context.node_id), found.message_object_trees[0]
        pull = make_pull_object_fn_protobuf(self._client.PullObject, node, given.run.run_id)

        def pull_unless_withdrawn(identifier: str) -> bytes:
            try:
                return pull(identifier)
            except ObjectUnavailableError as error:
                if self._source.withdrawn():
                    raise ObjectPullError(identifier, "the request was withdrawn") from error
                raise

        run, bundle = str(given.run.run_id), given.fab.hash_str
        confirm = make_confirm_message_received_fn_protobuf(self._client.ConfirmMessageReceived, node, given.run.run_id)
        try:
            contents = fetch(tree, pull_unless_withdrawn, maximum)
        except MessageTooLargeError as error:
            confirm(tree.object_id)
            return Taken(message_from_proto(found.messages_list[0]), run, bundle, error)
        confirm(tree.object_id)
        message = inflate_object_from_contents(tree.object_id, contents)
        if not isinstance(message, Message):
            raise TypeError(f"the request is a {type(message).__name__}")
        message.metadata.__dict__["_message_id"] = tree.object_id
        return Taken(message, run, bundle)

    def give(self, reply: Message) -> None:
        """Hand over the answer.

        Raises:
            ObjectPushError, httpx.HTTPError: the SuperNode did not take it.
        """
        push_message(self._client, reply, self._context)
        push_task_output(self._client, self._context, SubStatus.COMPLETED, "")

    def refuse(self, why: str) -> None:
        """End the request without an answer."""
        push_task_output(self._client, None, SubStatus.FAILED, why)


def _client(
    address: str, interceptor: SuperExecAuthHttpInterceptor | RuntimeTokenHttpInterceptor, component: str
) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        address,
        insecure=True,  # loopback, within one machine
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name=component), interceptor],
    )
