"""One look at the shift between sites: ask them, compare, write the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flwr.serverapp import Grid

from common import progress
from common.configuration import RunConfig, TaskConfig, task_of
from common.errors import QuorumError
from common.models.published import PublishedModel
from server.exchange import wait_for_quorum
from server.shift.page import Shift, assess, command, write_shift
from server.shift.survey import survey

FEWEST = 2
"""Sites without which there is nothing to compare."""


def compare_connected(grid: Grid, config: RunConfig, published: PublishedModel | None, folder: Path) -> None:
    """Ask the sites of ``config`` that are connected, and write and tell what was found.

    Sites that are not connected are waited for ``federation.joining_seconds``, answers
    ``federation.deadline_seconds``.

    Raises:
        QuorumError: fewer than two sites told anything.
        StorageError: the folder cannot be written.
    """
    everyone, limits = [*config.sites, *config.unseen], config.federation
    joining = min(limits.joining_seconds, limits.deadline_seconds)
    nodes = wait_for_quorum(grid, everyone, 0.0, joining, joining)
    task = task_of(config) if published is None else published.task
    progress.say(f"asking {', '.join(nodes)}")
    shift = compare_sites(grid, nodes, everyone, task, published, limits.deadline_seconds)
    write_shift(shift, folder)
    for line in words(shift):
        progress.say(line)


def compare_sites(
    grid: Grid,
    nodes: Mapping[str, int],
    everyone: Sequence[str],
    task: TaskConfig,
    published: PublishedModel | None,
    seconds: float,
) -> Shift:
    """How the sites are apart; who is not connected, or tells nothing, is named in it.

    Args:
        grid: to reach them.
        nodes: of the connected sites.
        everyone: sites that are to be compared.
        task: how images are prepared; of the model where there is one.
        published: a classifier whose features the sites are compared by.
        seconds: deadline of the answers.

    Raises:
        QuorumError: fewer than two sites told anything.
    """
    found = survey(grid, nodes, task, published, seconds)
    absent = {site: "not connected" for site in everyone if site not in nodes}
    for site in absent:
        progress.say(f"{site} is left out: not connected")
    left_out = absent | found.left_out
    if len(found.told) < FEWEST:
        raise QuorumError(
            f"{len(found.told)} of {len(everyone)} sites told what they look like, {FEWEST} are needed to compare",
            where="; ".join(f"{site}: {reason}" for site, reason in left_out.items()),
            do="mend those sites and ask again",
        )
    return assess(task, found.told, left_out)


def words(shift: Shift) -> list[str]:
    """For the terminal: every shift that counts, and what is recommended."""
    found = [
        f"{item.kind}: {item.reason} ({' and '.join(item.between or ())})" for item in shift.found if item.strength >= 1
    ]
    return [*(found or ["no shift that counts"]), f"recommended: {command(shift)}"]
