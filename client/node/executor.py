"""The resident executor: answers the coordinator's requests with the locally installed ClientApp, and no other.

It takes the place of Flower's own runner. That one would unpack the bundle that a coordinator
sends and import it; this one never looks into a bundle. Every request is checked against the
site's policy and written into the audit log before it is worked on; every answer before it leaves.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.proto.runtime_pb2 import AcquireTaskResponse
from flwr.supercore.constant import TaskType
from flwr.supercore.task_identity import TaskIdentity

from client.app import app
from client.node import limits
from client.node.activity import Activity
from client.node.home import SiteHome, read_settings
from client.node.policy import Policy
from client.node.request import check_request, refuse, size_of
from client.node.taking import LOST, Handover, Source, Taken
from client.site import Site, node_configuration
from client.withholding import Withholding
from common import audit
from common.errors import XaiFederationError
from common.offline import switch_off
from common.processes import die_with_parent
from common.stopping import stop_on_signals
from common.waiting import Pace
from common.wire import kind_of

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 0.5
"""Between two looks for a request at the SuperNode, seconds."""

logger = logging.getLogger("xai_federation.executor")


@dataclass
class Executor:
    """What the loop works with."""

    home: SiteHome
    activity: Activity
    source: Source
    maximum: int = Policy().message_bytes
    """Bytes that a request may bring."""


def serve(executor: Executor, stopping: threading.Event) -> None:
    """Answer requests until asked to stop; a request that is being worked on is finished first."""
    pace = Pace(SHORTEST_PAUSE, LONGEST_PAUSE)
    while not stopping.is_set():
        found = executor.source.next()
        if found is None:
            stopping.wait(pace.pause())
            continue
        _work(executor, found)
        pace.restart()
        executor.activity.idle()


def _work(executor: Executor, found: AcquireTaskResponse) -> None:
    """Take one request, answer it, and give the answer to the SuperNode.

    An answer that cannot be given ends this process: the SuperNode would wait for it for ever, and the
    supervisor starts both anew.
    """
    handover = Handover(executor.source, found.token)
    with handover.alive():
        if found.task.type == TaskType.AGENT_APP:  # has no place in a hospital; unanswered it would block the node
            handover.refuse("agents are not run here")
            return
        try:
            taken = handover.take(executor.maximum)
        except LOST as error:
            logger.error("a request could not be taken: %s", error)
            handover.refuse("lost")
            return
        reply = answer(executor, taken)
        try:
            handover.give(reply)
        except LOST as error:
            sys.exit(f"an answer could not be handed over: {error}")


def answer(executor: Executor, taken: Taken) -> Message:
    """Check a request, let the installed ClientApp answer it, and log both."""
    message, run = taken.message, taken.run
    content = message.content if message.has_content() else RecordDict()
    home, kind = executor.home, kind_of(content) or "unknown"
    asked = message.metadata.message_type
    begun = time.monotonic()
    try:
        entry = audit.append(
            home.audit, "asked", run=run, request=asked, kind=kind, bytes=size_of(content), bundle=taken.bundle
        )
        if taken.problem is not None:
            raise taken.problem
        settings = read_settings(home)
        rules = Withholding(settings.policy.minimum_cell, settings.policy.decimals)
        site = Site(settings.site, home.data(settings), home.folder.resolve(), settings.cache_gb, rules)
        executor.activity.begin(run, content)
        check_request(settings.policy, site, asked, content, datetime.datetime.now().time())
        own = node_configuration(site)
        context = Context(TaskIdentity.run_id, TaskIdentity.node_id, dict(own), RecordDict(), {})
        reply = app(message, context)
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
        name = type(error).__name__
        try:
            audit.append(home.audit, "refused", run=run, request=asked, kind=kind, error=name)
        except XaiFederationError as unwritten:  # nothing was done and nothing leaves: the coordinator is told so
            logger.error("the refusal of %s (%s) is missing in the audit log: %s", asked, name, unwritten)
    return reply


def main() -> None:
    """Entry point of the process; the supervisor starts it."""
    parser = argparse.ArgumentParser(prog="python -m client.node.executor")
    parser.add_argument("state", type=Path)
    parser.add_argument("--runtime", required=True)
    arguments = parser.parse_args()
    switch_off()
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("xai_federation").setLevel(logging.INFO)
    home = SiteHome(arguments.state)
    policy = read_settings(home).policy
    limits.apply(policy)
    stopping = stop_on_signals()
    source = Source(arguments.runtime, home.executor_secret.read_bytes(), stopping)
    serve(Executor(home, Activity(home.activity_file), source, policy.message_bytes), stopping)


if __name__ == "__main__":
    main()
