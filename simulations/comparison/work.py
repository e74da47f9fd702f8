"""One training of a comparison, begun or gone on with: a run in its folder, or merged data; then its answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from client.site import Site, load_site
from client.tasks.work import work_of
from common import progress
from common.configuration import read_run
from common.configuration.loading import settings
from common.data.scale import awaits_scale
from common.errors import CheckpointError
from common.locking import held
from simulations.baselines import train_centrally
from simulations.comparison.answers import BySite, answers_of, answers_of_run, read_answers, tested, write_answers
from simulations.comparison.findings import WORDS, figure_of
from simulations.comparison.plan import Training
from simulations.run import CONFIG, ORIGIN, resume, start
from simulations.scale import with_scale_of

SCALE = "imaging.standard_scale"


def carry_out(training: Training, caches: Path) -> str:
    """Do what is not done yet; returns a line that says what came of it.

    Args:
        training: what is to be done.
        caches: folder of prepared images that all trainings share, one sub-folder a site.

    Raises:
        CheckpointError: its folder holds a run with other settings.
        FederationStateError: another process is at it.
        XaiFederationError: of the run, by name.
    """
    with held(training.folder / "compare.lock", training.name):
        if (training.folder / CONFIG).exists():
            require_settings(training)
        if not training.answers.exists():
            if training.merged:
                write_answers(training.answers, _train_merged(training, caches))
            else:
                _run(training, caches)
        found = read_answers(training.answers)
    figure = WORDS[figure_of(training.config)]
    return f"{training.name:32} {figure}  " + "  ".join(f"{site} {_value(found, site)}" for site in found)


def _value(found: BySite, site: str) -> str:
    value = found[site].value()
    return "-" if value != value else f"{value:.3f}"


def _run(training: Training, caches: Path) -> None:
    folder, config = training.folder, training.config
    for name in (*config.sites, *config.unseen):
        share_cache(folder / "sites" / name, caches / name)
    if not ((folder / "summary.json").exists() and (folder / "report.html").exists()):
        if (folder / CONFIG).exists():
            resume(folder)
        else:
            start(config, folder, training.data)
    common, own = answers_of_run(folder, dict(training.splits))
    if own:
        write_answers(training.personal_answers, own)
    write_answers(training.answers, common)


def require_settings(training: Training) -> None:
    """Refuse to go on with, or to compare, a run that was made with other settings or data than are asked for now.

    Raises:
        CheckpointError: naming the first setting that differs, or the data.
    """
    folder = training.folder
    origin = (folder / json.loads((folder / ORIGIN).read_text())["data"]).resolve()
    if origin != training.data.resolve():
        raise CheckpointError(
            f"the run there is of the data in {origin}, now {training.data.resolve()} is asked for",
            where=str(folder),
            do="ask for the same data, or choose another --out",
        )
    begun, now = settings(read_run(training.folder / CONFIG)), settings(training.config)
    for key, value in now.items():
        if key == SCALE and not value:  # a run settles it itself before its first round
            continue
        if begun.get(key) != value:
            raise CheckpointError(
                f"the run there has {key} = {begun.get(key)}, now {value} is asked for",
                where=str(training.folder),
                do="ask for the same settings, or choose another --out",
            )


def share_cache(state: Path, cache: Path) -> None:
    """Let a site's state folder use a cache elsewhere: entries are named by content, so runs may share them."""
    link = state / "cache"
    if link.exists() or link.is_symlink():
        return
    state.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(cache.resolve(), state.resolve()), target_is_directory=True)


def _train_merged(training: Training, caches: Path) -> BySite:
    """Train on merged data and answer about every site; a training that is interrupted begins again."""

    def site(name: str) -> Site:
        state = training.folder / "sites" / name
        share_cache(state, caches / name)
        return Site(name, training.data.resolve() / name, state)

    config = with_scale_of(training.config, [site(name) for name in training.merged])
    parts = [load_site(site(name), config) for name in training.merged]
    for part in parts:
        work_of(config).trainable(part.of_split("train"), config)
    model = train_centrally(config, training.name.replace(", seed", " seed"), parts)
    return {
        name: answers_of(model, tested(site(name), config, split), config, training.name)
        for name, split in training.splits
    }


def prepare(trainings: list[Training], caches: Path) -> None:
    """Prepare all images once, before several processes would do the same work side by side.

    Raises:
        OneClassSiteError: a site whose training patients are all of one class.
        XaiFederationError: what is wrong with a site's data, by name.
    """
    seen = set()
    for training in trainings:
        data, state = training.data.resolve(), caches.parent / "preparation"
        config, trains = training.config, training.merged or tuple(training.config.sites)
        people = {name: Site(name, data / name, state / name) for name in (*config.sites, *config.unseen)}
        asked = (data, repr(config.imaging), repr(config.data), *(trains if awaits_scale(config.imaging) else ()))
        if asked in seen:
            continue
        seen.add(asked)
        for site in people.values():
            share_cache(site.state, caches / site.name)
        config = with_scale_of(config, [people[name] for name in trains])
        for site in people.values():
            found = load_site(site, config)
            if site.name in config.sites:
                work_of(config).trainable(found.of_split("train"), config)
            progress.say(f"{site.name:12} {found.patients} patients, {len(found.breasts)} breasts are ready")
