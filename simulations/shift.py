"""How far a scenario's sites are apart, without training anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from client.app import app as client_app
from common.configuration import RunConfig, task_of
from common.models.published import read_published
from server.exchange import connected_sites
from server.shift.comparing import compare_sites, words
from server.shift.page import write_shift
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
    shift = compare_sites(grid, connected_sites(grid), list(nodes), task, published, config.federation.deadline_seconds)
    page = write_shift(shift, folder)
    return "\n".join([*words(shift), f"page: {page}"])
