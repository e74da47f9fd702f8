"""How far a scenario's sites are apart, without training anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from client.app import app as client_app
from common.configuration import RunConfig, task_of
from common.errors import QuorumError
from common.models.published import read_published
from server.exchange import connected_sites
from server.shift.page import assess, command, write_shift
from server.shift.survey import survey
from simulations.local_grid import LocalGrid
from simulations.sources import participants, write_phantom

PHANTOM = "phantom"


def show_shift(config: RunConfig, folder: Path, data: Path | None, model: Path | None = None) -> str:
    """Ask every site of a scenario what it looks like; writes ``shift.json`` and ``shift.html``.

    Args:
        config: the scenario; ``unseen`` sites are asked like the others.
        folder: to write to; phantom sites and the sites' caches lie there too, and are used again.
        data: folder with one sub-folder a site, or ``None`` for phantom sites.
        model: a published classifier, by whose features sites are compared too; images are then prepared as its are.

    Returns:
        What to say on the terminal.

    Raises:
        QuorumError: fewer than two sites told anything.
        XaiFederationError: by name.
    """
    published = None if model is None else read_published(model)
    if data is None:
        data = folder / PHANTOM
        write_phantom(config.phantom, data)
        config = replace(config, sites=list(config.phantom.sites), unseen=list(config.phantom.unseen))
    people = participants(config, data.resolve(), folder / "sites")
    nodes = {
        name: {"site": name, "data": str(site.data), "state": str(site.state)} for name, site in people.all.items()
    }
    grid = LocalGrid(client_app, nodes)
    task = task_of(config) if published is None else published.task
    told = survey(grid, connected_sites(grid), task, published, config.federation.deadline_seconds)
    told = {site: report for site, report in told.items() if report.stored}
    if len(told) < 2:
        raise QuorumError(
            f"{len(told)} of {len(nodes)} sites told what they look like, two are needed to compare",
            where=str(data),
            do="see above why the others did not; a site with too few patients tells nothing",
        )
    shift = assess(task, told)
    page = write_shift(shift, folder)
    found = [
        f"{item.kind}: {item.reason} ({' and '.join(item.between or ())})" for item in shift.found if item.strength >= 1
    ]
    return "\n".join([*(found or ["no shift that counts"]), f"recommended: {command(shift)}", f"page: {page}"])
