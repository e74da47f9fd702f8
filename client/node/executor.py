"""The resident executor: answers the coordinator's requests with the locally installed ClientApp, and no other.

It takes the place of Flower's own runner. That one would unpack the bundle that a coordinator
sends and import it; this one never looks into a bundle. Every request is checked against the
site's policy and written into the audit log before it is worked on; every answer before it leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import logging
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from client.app import app
from client.node.activity import Activity
from client.node.home import SiteHome, read_settings
from client.node.request import check_request, refuse, size_of
from common import audit
from common.errors import XaiFederationError
from common.offline import switch_off
from common.processes import die_with
from common.protocol import kind_of

POLL_SECONDS = 0.25
_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})

logger = logging.getLogger("xai_federation.executor")


@dataclass
class Executor:
    """What the loop works with."""

    home: SiteHome
    address: str
    """``host:port`` of the SuperNode's interface on loopback."""
    activity: Activity
    stopping: threading.Event


def serve(executor: Executor) -> None:
    """Answer requests until asked to stop; a request that is being worked on is finished first."""
    secret = executor.home.executor_secret.read_bytes()
    client = RuntimeHttpClient.from_server_address(
        executor.address,
        insecure=True,
        root_certificates=None,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_ACQUIRE),
        ],
    )
    wanted = [TaskType.CLIENT_APP, TaskType.AGENT_APP]
    with client:
        while not executor.stopping.wait(POLL_SECONDS):
            try:
                found = client.AcquireTask(AcquireTaskRequest(supported_task_types=wanted))
            except httpx.HTTPError as error:
                logger.debug("the SuperNode does not answer: %s", error)
                continue
            if found.token:
                _work(executor, found.token, agent=found.task.type == TaskType.AGENT_APP)
                executor.activity.idle()


def _work(executor: Executor, token: str, *, agent: bool) -> None:
    """Take one request, answer it, and give the answer to the SuperNode."""
    client = RuntimeHttpClient.from_server_address(
        executor.address,
        insecure=True,
        root_certificates=None,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
            RuntimeTokenHttpInterceptor(token),
        ],
    )
    heartbeat = HeartbeatSender(lambda: _heartbeat(client))
    with client:
        try:
            if agent:  # a kind of Flower app that has no place in a hospital; unanswered it would block the node
                push_task_output(client, None, SubStatus.FAILED, "agents are not run here")
                return
            heartbeat.start()
            message, context, run, bundle = pull_task_input(client)
            reply = answer(executor, message, context, str(run.run_id), bundle.hash_str)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
        except (httpx.HTTPError, RuntimeError, ValueError) as error:
            # the SuperNode or the run is gone: the coordinator asks again when it wants the answer
            logger.error("a request could not be taken or answered: %s", error)
        finally:
            if heartbeat.is_running:
                heartbeat.stop()


def _heartbeat(client: RuntimeHttpClient) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
    return True


def answer(executor: Executor, message: Message, context: Context, run: str, bundle: str) -> Message:
    """Check a request, let the installed ClientApp answer it, and log both.

    Args:
        executor: this one.
        message: the request.
        context: Flower's; only its numbers are used.
        run: number of the coordinator's run.
        bundle: digest of the app that the coordinator sent along, for the log only.
    """
    home, kind = executor.home, kind_of(message.content) or "unknown"
    asked = message.metadata.message_type
    begun = time.monotonic()
    try:
        entry = audit.append(
            home.audit, "asked", run=run, request=asked, kind=kind, bytes=size_of(message.content), bundle=bundle
        )
        settings = read_settings(home)
        site = home.site(settings)
        executor.activity.begin(run, message.content)
        check_request(settings.policy, site, message, datetime.datetime.now().time())
        own = {"site": site.name, "data": str(site.data), "state": str(site.state)}
        reply = app(message, Context(context.run_id, context.node_id, dict(own), RecordDict(), {}))
        audit.append(
            home.audit,
            "answered",
            run=run,
            request=asked,
            to=entry.number,
            kind=kind_of(reply.content) if reply.has_content() else "error",
            bytes=size_of(reply.content) if reply.has_content() else 0,
            seconds=round(time.monotonic() - begun, 1),
        )
    except Exception as error:  # a node survives every request, and no exception's text may leave it
        if isinstance(error, XaiFederationError):
            logger.error("%s refused: %s", asked, error)
        else:
            logger.exception("%s failed", asked)
        reply = refuse(message, error)
        with contextlib.suppress(XaiFederationError):
            audit.append(home.audit, "refused", run=run, request=asked, kind=kind, error=type(error).__name__)
    return reply


def _limit(cores: int, memory_gb: float) -> None:
    """Keep this process within the policy's limits, whatever a task asks for."""
    if cores:
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        os.sched_setaffinity(0, allowed)
    if memory_gb:
        size = int(memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def main() -> None:
    """Entry point of the process; the supervisor starts it."""
    parser = argparse.ArgumentParser(prog="python -m client.node.executor")
    parser.add_argument("state", type=Path)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    switch_off()
    die_with(arguments.parent)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("xai_federation").setLevel(logging.INFO)
    home = SiteHome(arguments.state)
    policy = read_settings(home).policy
    _limit(policy.cores, policy.memory_gb)
    stopping = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    serve(Executor(home, arguments.runtime, Activity(home.activity_file), stopping))


if __name__ == "__main__":
    main()
