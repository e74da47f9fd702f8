"""Sends one message to each site and yields replies as they arrive, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import QuorumError, WireError

POLL_SECONDS = 0.2


def connected_sites(grid: Grid) -> dict[str, int]:
    """Node of every connected site, by the name it is registered under (never by its own claim)."""
    return {node.name: node.node_id for node in grid.get_nodes() if node.name}


def wait_for_quorum(grid: Grid, sites: Sequence[str], quorum: float, deadline_seconds: float) -> dict[str, int]:
    """Wait until all ``sites`` are connected, or at the deadline go on with a quorum of them.

    Raises:
        QuorumError: too few sites at the deadline; names the missing ones.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        there = {name: node for name, node in connected_sites(grid).items() if name in sites}
        if len(there) == len(sites):
            break
        if time.monotonic() >= end:
            if len(there) >= required(quorum, len(sites)):
                break
            missing = ", ".join(name for name in sites if name not in there)
            raise QuorumError(
                f"only {len(there)} of {len(sites)} sites are connected, {required(quorum, len(sites))} are needed",
                where=f"missing: {missing}",
                do="start the missing sites or lower federation.quorum, then resume",
            )
        time.sleep(POLL_SECONDS)
    return {name: there[name] for name in sites if name in there}


def required(quorum: float, sites: int) -> int:
    """Number of sites that make a quorum; at least one."""
    return max(1, ceil(quorum * sites - 1e-9))


def exchange(
    grid: Grid,
    nodes: Mapping[str, int],
    content: Callable[[str], RecordDict],
    message_type: str,
    group: str,
    deadline_seconds: float,
) -> Iterator[tuple[str, RecordDict | WireError]]:
    """Ask every site the same kind of question and yield ``(site, answer)`` in order of arrival.

    A site whose program failed yields a :class:`WireError`; one that does not answer by the
    deadline yields nothing. Sites are told apart by their node, not by what they say.
    """
    names = {node: name for name, node in nodes.items()}
    messages = [
        Message(content(name), node, message_type, ttl=deadline_seconds, group_id=group) for name, node in nodes.items()
    ]
    pending = set(grid.push_messages(messages))
    del messages
    end = time.monotonic() + deadline_seconds
    while pending and time.monotonic() < end:
        replies = list(grid.pull_messages(list(pending)))
        for reply in replies:
            pending.discard(reply.metadata.reply_to_message_id)
            name = names.get(reply.metadata.src_node_id)
            if name is None:
                continue
            if reply.has_error():
                yield name, WireError(f"the site's program failed (Flower error {reply.error.code})")
            else:
                yield name, reply.content
        if not replies:
            time.sleep(POLL_SECONDS)
