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
from common.waiting import Pace

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 0.5
"""Between two looks for replies or for sites, seconds."""
LOOK_SECONDS = 2.0
"""How often the connected sites are looked at, to ask those again that lost the question."""
MAXIMUM_CRASHES = 3
MAXIMUM_ASKS = 10
"""A site that lost the same question so often is given up: its program may die of it each time."""
LONGEST_REST = 60.0
"""Between two times that a site is asked the same, seconds; at first :data:`LOOK_SECONDS`, then twice as long each."""
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
    begun, pace = time.monotonic(), Pace(SHORTEST_PAUSE, LONGEST_PAUSE)
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
        time.sleep(pace.pause())
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
    is back. A site whose program failed, or that lost the question again and again, yields a
    :class:`WireError`; one that does not answer by the deadline yields nothing. Sites are told apart by
    their node, not by what they say.
    """
    end = time.monotonic() + deadline_seconds
    asked = _Asked(grid, nodes, content, message_type, group)
    asked.ask(list(nodes), deadline_seconds)
    looked, pace = time.monotonic(), Pace(SHORTEST_PAUSE, LONGEST_PAUSE)
    while asked.waiting and time.monotonic() < end:
        replies = list(grid.pull_messages(list(asked.site_of)))
        for reply in replies:
            yield from asked.take(reply)
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            lost = asked.lost()
            yield from asked.give_up(lost)
            asked.ask([site for site in lost if asked.is_due(site)], end - looked)
        if replies:
            pace.restart()
        else:
            time.sleep(pace.pause())


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
        self._asks: Counter[str] = Counter()
        self._due: dict[str, float] = {}

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
        now = time.monotonic()
        for site in sites:
            self._due[site] = now + min(LOOK_SECONDS * 2 ** self._asks[site], LONGEST_REST)
            self._asks[site] += 1
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

    def is_due(self, site: str) -> bool:
        """Whether the site has had its rest since it was asked last."""
        return time.monotonic() >= self._due[site]

    def give_up(self, lost: Sequence[str]) -> Iterator[tuple[str, WireError]]:
        """Yield and forget those of the ``lost`` that were asked often enough."""
        for site in lost:
            if self._asks[site] >= MAXIMUM_ASKS:
                self.waiting.discard(site)
                yield site, WireError(f"the site lost the question {MAXIMUM_ASKS} times; its own log says why")

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
