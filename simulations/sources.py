"""Where a simulation's sites come from: phantom sites written here, or folders with manifests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from client.site import Site
from common import progress
from common.configuration import PhantomConfig, RunConfig
from common.configuration.naming import nearest
from common.data.manifest import MANIFEST, Manifest, read_manifest
from common.errors import ConfigurationError, EmptySiteError, NoLesionError, XaiFederationError
from common.names import check_name
from simulations.phantom.dataset import write_site
from simulations.phantom.sites import SITES


@dataclass(frozen=True)
class Participants:
    """The sites of a run, in order, and those left out with the reason."""

    sites: dict[str, Site]
    unseen: dict[str, Site]
    left_out: dict[str, str]

    @property
    def all(self) -> dict[str, Site]:
        """Training sites, then unseen ones."""
        return self.sites | self.unseen


def write_phantom(config: PhantomConfig, folder: Path) -> list[Path]:
    """Write every phantom site of ``config`` under ``folder``; finished sites are kept.

    Raises:
        ConfigurationError: a site that the phantom does not know, or skin markers at a site that is not made.
    """
    for name in config.skin_markers:
        if name not in (*config.sites, *config.unseen):
            raise ConfigurationError(
                f"{name} is to have skin markers and is none of the sites",
                where="phantom.skin_markers",
                do=f"choose among: {', '.join([*config.sites, *config.unseen])}",
            )
    paths = []
    for names, exams in ((config.sites, config.exams), (config.unseen, config.unseen_exams)):
        for name in names:
            if name not in SITES:
                guess = nearest(name, list(SITES))
                raise ConfigurationError(
                    f"there is no phantom site '{name}'",
                    where="phantom.sites",
                    do=(f"did you mean '{guess}'? " if guess else "") + f"known: {', '.join(SITES)}",
                )
            done = 0
            with progress.track(f"{name}: rendering exams", exams) as advance:

                def report(now: int, _: int) -> None:
                    nonlocal done
                    advance(now - done)
                    done = now

                manifest = write_site(
                    name,
                    exams,
                    folder / name,
                    dataset_seed=config.dataset_seed,
                    severity=config.severity,
                    rows=config.rows,
                    skin_markers=name in config.skin_markers,
                    shifts=tuple(config.shifts),
                    progress=report,
                )
            paths.append(manifest)
    return paths


def available(data: Path) -> list[str]:
    """Sub-folders of ``data`` that hold a manifest, sorted.

    Raises:
        ConfigurationError: there is no such folder, or none of its sub-folders has a manifest.
    """
    if not data.is_dir():
        raise ConfigurationError(
            "there is no such data folder", where=str(data), do="give a folder with one sub-folder a site"
        )
    names = sorted(item.parent.name for item in data.glob(f"*/{MANIFEST}"))
    if not names:
        raise ConfigurationError(
            f"no sub-folder has a {MANIFEST}", where=str(data), do="see docs/data.md for how a site's folder looks"
        )
    return [check_name(name) for name in names]


def participants(config: RunConfig, data: Path, state: Path) -> Participants:
    """Settle who trains, who is only tested on, and who cannot take part: too small, or without what the task needs.

    A site that was asked for by name and cannot is an error; one that was merely found is left out, with the reason.

    Args:
        config: ``sites`` and ``unseen`` choose among the folders; an empty ``sites`` takes all.
        data: folder with one sub-folder a site.
        state: folder for the sites' own state.

    Raises:
        ConfigurationError: unknown site, or no training site left.
        EmptySiteError: a site without patients, or too small though asked for.
        NoLesionError: a detector is to be trained, and a site that was asked for has no boxes, or none of them has.
        XaiFederationError: a manifest is wrong, by name.
    """
    found = available(data)
    for name in (*config.sites, *config.unseen):
        if name not in found:
            guess = nearest(name, found)
            raise ConfigurationError(
                f"there is no site '{name}'",
                where=str(data),
                do=(f"did you mean '{guess}'? " if guess else "") + f"found: {', '.join(found)}",
            )
    chosen = config.sites or [name for name in found if name not in config.unseen]
    left_out: dict[str, str] = {}
    for name in chosen:
        error = _obstacle(config, read_manifest(data / name, name))
        if error is not None and name in config.sites:
            raise error
        if error is not None:
            left_out[name] = error.what
    training = [name for name in chosen if name not in left_out and name not in config.unseen]
    if not training:
        raise EmptySiteError(
            "no site can be trained on",
            where="; ".join([str(data), *(f"{name}: {reason}" for name, reason in left_out.items())]),
            do="lower data.minimum_patients, or for a detector fill the column boxes",
        )

    def sites(names: list[str]) -> dict[str, Site]:
        return {name: Site(name, data / name, state / name) for name in names}

    return Participants(sites(training), sites(config.unseen), left_out)


def _obstacle(config: RunConfig, manifest: Manifest) -> XaiFederationError | None:
    """Why a site cannot be trained on, as far as its manifest tells."""
    patients, minimum = len(manifest.patients), config.data.minimum_patients
    if patients < minimum:
        return EmptySiteError(
            f"{patients} patient{'s' if patients != 1 else ''}, {minimum} are needed (data.minimum_patients)",
            where=f"site {manifest.site}: {manifest.folder}",
            do="add patients, or leave the site out",
        )
    views = [view for breast in manifest.breasts for view in breast.views]
    if config.task == "detector" and not any(view.boxes for view in views):
        unknown = sum(view.boxes is None for view in views)
        return NoLesionError(
            f"no lesion has a box (boxes of {unknown} of {len(views)} images are unknown), a detector needs them",
            where=f"site {manifest.site}: {manifest.folder}",
            do="fill the column boxes of the manifest, or leave the site out",
        )
    return None


def resolved(config: RunConfig, people: Participants) -> RunConfig:
    """The configuration with the sites that really take part filled in."""
    return replace(config, sites=list(people.sites), unseen=list(people.unseen))
