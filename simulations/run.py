"""One federated run on one machine: data, federation, baselines, report; and its resumption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from client.app import app as client_app
from client.site import Site, load_site
from common import progress
from common.atomic import write_text
from common.configuration import RunConfig, read_run, to_yaml
from common.data.scale import unscaled
from common.errors import CheckpointError, ConfigurationError
from server.app import federate, write_results
from server.initial import initial_model
from simulations.baselines import run_baselines
from simulations.local_grid import LocalGrid
from simulations.loopback import run_deployed
from simulations.ray_runtime import require_ray, run_with_ray
from simulations.sources import Participants, available, participants, resolved, write_phantom

CONFIG, ORIGIN, PHANTOM = "config.yaml", "simulation.json", "phantom"
ENGINES = ("in-process", "flower", "ray")
"""Who carries messages: this process, a deployed federation on loopback (SuperLink, SuperNodes, TLS), or Flower's
simulation runtime (Ray)."""


def start(config: RunConfig, folder: Path, data: Path | None, engine: str = "in-process") -> Path:
    """Run a scenario in a new folder; returns the path of its report.

    Args:
        config: the scenario.
        folder: run folder; a finished or begun run in it is not overwritten.
        data: folder with one sub-folder a site, or ``None`` for phantom sites.
        engine: one of :data:`ENGINES`.

    Raises:
        ConfigurationError: no such engine, or it is not installed.
        CheckpointError: the folder already holds a run.
        XaiFederationError: by name.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"there is no engine '{engine}'", do=f"choose one of: {', '.join(ENGINES)}")
    if engine == "ray":
        require_ray()
    if (folder / CONFIG).exists():
        raise CheckpointError(
            "the folder already holds a run",
            where=str(folder),
            do=f"go on with it: xai-sim resume {folder}; or choose another --out",
        )
    initial_model(config)  # a network or weights file that cannot be had shows before hours of rendering
    if data is None:
        data = folder / PHANTOM
        write_phantom(config.phantom, data)
        config = replace(config, sites=list(config.phantom.sites), unseen=list(config.phantom.unseen))
    elif not config.unseen:  # phantom sites may also come from a folder that `xai-sim data` wrote
        config = replace(config, unseen=[name for name in config.phantom.unseen if name in available(data)])
    people = participants(config, data.resolve(), folder / "sites")
    for name, reason in people.left_out.items():
        progress.say(f"{name} is left out: {reason}")
    config = resolved(config, people)
    for site in people.all.values():
        _announce(site, config)
    origin = {"data": _origin(data, folder), "left_out": people.left_out, "engine": engine}
    write_text(folder / ORIGIN, json.dumps(origin, indent=1))
    write_text(folder / CONFIG, to_yaml(config))
    return _run(config, folder, people, engine)


def resume(folder: Path) -> Path:
    """Go on with a run that was killed or failed; returns the path of its report.

    Raises:
        CheckpointError: the folder holds no run.
        XaiFederationError: by name.
    """
    try:
        origin = json.loads((folder / ORIGIN).read_text())
        config = read_run(folder / CONFIG)
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            "there is no run to resume", where=str(folder), do="start one: xai-sim run SCENARIO --out DIR"
        ) from error
    data = (folder / origin["data"]).resolve()
    people = participants(config, data, folder / "sites")
    people = Participants(people.sites, people.unseen, origin["left_out"])
    return _run(config, folder, people, origin.get("engine", "in-process"))


def _origin(data: Path, folder: Path) -> str:
    """Where the data lie: inside the run folder relative to it, so that the folder may move; else absolute."""
    place, base = data.resolve(), folder.resolve()
    return str(place.relative_to(base) if place.is_relative_to(base) else place)


def _announce(site: Site, config: RunConfig) -> None:
    """Prepare a site's data before anything trains, so that what is wrong with it shows at once."""
    data = load_site(site, unscaled(config))
    images = sum(len(views) for views in data.views)
    progress.say(
        f"{site.name:12} {data.patients} patients, {len(data.breasts)} breasts ({int(data.targets.sum())} malignant), "
        f"{images} images" + (f", {len(data.skipped)} unreadable images skipped" if data.skipped else "")
    )


def _run(config: RunConfig, folder: Path, people: Participants, engine: str) -> Path:
    if engine == "flower":
        run_deployed(folder, people.all)
    elif engine == "ray":
        run_with_ray(folder, people.all, config.training.threads)
    else:
        nodes = {
            name: {"site": name, "data": str(site.data), "state": str(site.state)} for name, site in people.all.items()
        }
        federate(LocalGrid(client_app, nodes), folder)
        if config.baselines:  # which take their time: what is there is told before
            write_results(folder)
    _complete_sites(folder, people.left_out, "phantom" if _is_phantom(folder) else "folder")
    config = read_run(folder / CONFIG)  # with the scale of grey values that the sites have agreed on
    run_baselines(config, people.sites, people.unseen, folder)
    write_results(folder)
    return folder / "report.html"


def _is_phantom(folder: Path) -> bool:
    return (folder / PHANTOM).is_dir()


def _complete_sites(folder: Path, left_out: dict[str, str], source: str) -> None:
    """Add to ``sites.json`` where the data came from, and the sites that took no part."""
    file = folder / "sites.json"
    sites = {name: site | {"source": source} for name, site in json.loads(file.read_text()).items()}
    sites |= {name: {"role": "train", "source": source, "left_out": reason} for name, reason in left_out.items()}
    write_text(file, json.dumps(sites, indent=1))
