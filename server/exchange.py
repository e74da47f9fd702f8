"""Sends one message to each site and yields replies as they arrive, with a deadline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import MessageTooLargeError, QuorumError, WireError

POLL_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""How often the connected sites are looked at, to ask those again that lost the question."""
MAXIMUM_CRASHES = 3
TOO_LARGE, MALFORMED = 1001, 1002
"""Beyond Flower's error codes: what our deployed Grid says of a reply, with a reason of its own."""


def connected_sites(grid: Grid) -> dict[str, int]:
    """Node of every connected site, by the name it is registered under (never by its own claim)."""
    return {node.name: node.node_id for node in grid.get_nodes() if node.name}


def wait_for_quorum(
    grid: Grid, sites: Sequence[str], quorum: float, joining_seconds: float, deadline_seconds: float
) -> dict[str, int]:
    """Wait until all ``sites`` are connected; after ``joining_seconds`` a quorum of them is enough.

    Raises:
        QuorumError: too few sites at the deadline; names the missing ones.
    """
    begun = time.monotonic()
    while True:
        there = {name: node for name, node in connected_sites(grid).items() if name in sites}
        waited = time.monotonic() - begun
        if len(there) == len(sites) or (waited >= joining_seconds and len(there) >= required(quorum, len(sites))):
            break
        if waited >= deadline_seconds:
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

    A site that lost the question (its node was restarted, its executor killed) is asked again once it
    is back. A site whose program failed yields a :class:`WireError`; one that does not answer by the
    deadline yields nothing. Sites are told apart by their node, not by what they say.
    """
    end = time.monotonic() + deadline_seconds
    asked = _Asked(grid, nodes, content, message_type, group)
    asked.ask(list(nodes), deadline_seconds)
    looked = time.monotonic()
    while asked.waiting and time.monotonic() < end:
        replies = list(grid.pull_messages(list(asked.site_of)))
        for reply in replies:
            yield from asked.take(reply)
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            asked.ask(asked.lost(), end - looked)
        if not replies:
            time.sleep(POLL_SECONDS)


_LOST = (
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
    ErrorCode.CLIENT_APP_CRASHED,
)
"""Flower's words for a question or an answer that did not get through; the site may be asked again."""


class _Asked:
    """One question to several sites: who has not answered yet, and who must be asked again."""

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[str, int],
        content: Callable[[str], RecordDict],
        message_type: str,
        group: str,
    ) -> None:
        self._grid, self._nodes, self._content, self._type, self._group = grid, nodes, content, message_type, group
        self.waiting = set(nodes)
        self.site_of: dict[str, str] = {}
        """Site by the identifier of an open message."""
        self._activated: dict[str, str] = {}
        self._not_received: set[str] = set()
        self._crashes: Counter[str] = Counter()

    def ask(self, sites: Sequence[str], seconds: float) -> None:
        """Send the question to ``sites``, valid for ``seconds``."""
        if not sites or seconds <= 0:
            return
        there = _activations(self._grid)
        messages = [
            Message(self._content(site), self._nodes[site], self._type, ttl=seconds, group_id=self._group)
            for site in sites
        ]
        identifiers = list(self._grid.push_messages(messages))
        for site, identifier in zip(sites, identifiers, strict=True):
            self._activated[site] = there.get(site, "")
            self._not_received.discard(site)
            if identifier:
                self.site_of[identifier] = site
            else:
                self._not_received.add(site)

    def take(self, reply: Message) -> Iterator[tuple[str, RecordDict | WireError]]:
        """Yield the answer that a reply holds, if it holds one."""
        site = self.site_of.pop(reply.metadata.reply_to_message_id, None)
        if site is None or site not in self.waiting:
            return
        if not reply.has_error():
            if reply.metadata.src_node_id == self._nodes[site]:
                self.waiting.discard(site)
                yield site, reply.content
            return
        code = reply.error.code
        self._crashes[site] += code == ErrorCode.CLIENT_APP_CRASHED
        if code in _LOST and self._crashes[site] < MAXIMUM_CRASHES:
            self._not_received.add(site)
            return
        self.waiting.discard(site)
        yield site, _named(code, reply.error.reason or "")

    def lost(self) -> list[str]:
        """Sites that are connected, have not answered, and no longer hold the question."""
        there = _activations(self._grid)
        return [
            site
            for site in sorted(self.waiting)
            if site in there and (site in self._not_received or there[site] != self._activated[site])
        ]


def _named(code: int, reason: str) -> WireError:
    if code == TOO_LARGE:
        return MessageTooLargeError(reason)
    return WireError(reason if code == MALFORMED else f"the site's program failed (Flower error {code})")


def _activations(grid: Grid) -> dict[str, str]:
    """When each connected site was last activated; it changes when a node was away and came back."""
    return {node.name: node.last_activated_at for node in grid.get_nodes() if node.name}
