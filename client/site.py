"""One hospital: its name, its data folder, its state folder, and the data prepared for a task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from client.withholding import Withholding
from common import progress
from common.configuration import PREPROCESSING_VERSION, TaskConfig
from common.data.cache_folder import prune
from common.data.dataset import SiteData, prepare_site
from common.data.manifest import read_manifest
from common.data.scale import awaits_scale
from common.data.split import assign_splits
from common.errors import ConfigurationError, EmptySiteError, OneClassSiteError, PreprocessingVersionError
from common.names import check_name

if TYPE_CHECKING:
    from flwr.app import Context

DEFAULT_CACHE_GB, CACHE_GB = 50.0, "cache-gb"
"""Bound of a site's cache, and the key of the node configuration that changes it."""
MINIMUM_CELL, DECIMALS = "minimum-cell", "decimals"
"""Keys of the node configuration: what a site keeps back of its figures."""


@dataclass(frozen=True)
class Site:
    """Where a hospital's things lie.

    ``data`` holds ``manifest.csv``; ``state`` is written by us (cache, reports). ``cache_gb`` bounds the
    prepared images that are kept.
    """

    name: str
    data: Path
    state: Path
    cache_gb: float = DEFAULT_CACHE_GB
    withholding: Withholding = field(default=Withholding(), compare=False)
    """What of its figures stays here."""

    @property
    def cache(self) -> Path:
        """Folder of prepared images."""
        return self.state / "cache"

    @property
    def reports(self) -> Path:
        """Folder of what the site makes for its own eyes."""
        return self.state / "reports"


def site_of(context: Context) -> Site:
    """Read the site from Flower's node configuration.

    Keys ``site``, ``data``, ``state``; ``cache-gb`` if not 50, ``minimum-cell`` and ``decimals`` if any.

    Raises:
        ConfigurationError: a key is missing or the name is not a plain word.
    """
    found = {}
    for key in ("site", "data", "state"):
        value = context.node_config.get(key)
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"the node configuration lacks '{key}'", do="start the node through xai-client")
        found[key] = value
    bound = context.node_config.get(CACHE_GB, str(DEFAULT_CACHE_GB))
    rules = Withholding(_whole(context, MINIMUM_CELL), _whole(context, DECIMALS))
    return Site(check_name(found["site"]), Path(found["data"]), Path(found["state"]), float(bound), rules)


def _whole(context: Context, key: str) -> int | None:
    return int(context.node_config[key]) if key in context.node_config else None


def node_configuration(site: Site) -> dict[str, str]:
    """What :func:`site_of` reads."""
    rules = {MINIMUM_CELL: site.withholding.minimum_cell, DECIMALS: site.withholding.decimals}
    own = {"site": site.name, "data": str(site.data), "state": str(site.state), CACHE_GB: str(site.cache_gb)}
    return own | {key: str(value) for key, value in rules.items() if value is not None}


_prepared: dict[tuple[Site, str], SiteData] = {}
"""What this process has prepared, by site and preprocessing: rounds come back to it."""


def load_site(site: Site, task: TaskConfig) -> SiteData:
    """Prepare the site's data for a task; a second call for the same preprocessing is free.

    Raises:
        EmptySiteError: no usable patients.
        OneClassSiteError: no malignant breast, or nothing but malignant ones.
        StorageError: the prepared images do not fit into the site's cache.
        PreprocessingVersionError: the task's images are made in another way than this software makes them.
        ConfigurationError: the scale that the task's images are brought to is not known.
        XaiFederationError: anything else wrong with manifest or images, by name.
    """
    require_version(task)
    require_scale(task)
    key = (site, json.dumps([asdict(task.imaging), asdict(task.data)]))
    if key not in _prepared:
        data = _prepare(site, task)
        _require_breasts(site, data)
        _require_both_classes(site, data)
        _prepared[key] = data
    return _prepared[key]


def require_version(task: TaskConfig) -> None:
    """Refuse a task whose images this software would prepare in another way.

    Raises:
        PreprocessingVersionError: as said.
    """
    if task.imaging.version != PREPROCESSING_VERSION:
        raise PreprocessingVersionError(
            f"the run prepares images by version {task.imaging.version}, this site by {PREPROCESSING_VERSION}",
            where="imaging.version",
            do="install the release that the other sites of the run use; begun runs are finished with their own",
        )


def require_scale(task: TaskConfig) -> None:
    """Refuse a task whose images cannot be made yet, because nobody has said to what scale.

    Raises:
        ConfigurationError: as said.
    """
    if awaits_scale(task.imaging):
        raise ConfigurationError(
            f"imaging.harmonisation={task.imaging.harmonisation} needs the scale that the sites of a run agree on",
            where="imaging.standard_scale",
            do="give the settings of a run (its config.yaml) or its model, or choose another imaging.harmonisation",
        )


def load_unlabelled(site: Site, task: TaskConfig) -> SiteData:
    """Prepare the site's data for work that needs no labels: they may be empty, or all the same.

    Raises:
        EmptySiteError, StorageError, PreprocessingVersionError: as :func:`load_site`.
        XaiFederationError: anything else wrong with manifest or images, by name.
    """
    require_version(task)
    require_scale(task)
    data = _prepare(site, task, unlabelled=True)
    _require_breasts(site, data)
    return data


def _prepare(site: Site, task: TaskConfig, unlabelled: bool = False) -> SiteData:
    manifest = read_manifest(site.data, site.name, unlabelled)
    manifest = assign_splits(manifest, task.data.validation_fraction, task.data.test_fraction, task.data.fold)
    done = 0
    with progress.track(
        f"{site.name}: reading images", sum(len(breast.views) for breast in manifest.breasts)
    ) as advance:

        def report(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        data = prepare_site(manifest, site.cache, task.imaging, task.data, report)
    prune(site.cache, int(site.cache_gb * 1e9), (image for views in data.views for image in views))
    return data


def _require_breasts(site: Site, data: SiteData) -> None:
    if not data.breasts:
        raise EmptySiteError(
            f"site {site.name} has no usable breast", where=str(site.data), do="check its manifest.csv"
        )


def _require_both_classes(site: Site, data: SiteData) -> None:
    targets = data.targets
    if targets.min() == targets.max():
        kind = "malignant" if targets[0] else "without malignancy"
        raise OneClassSiteError(
            f"every one of the {len(targets)} breasts of site {site.name} is {kind}: nothing can be learnt or measured",
            where=str(site.data),
            do="add patients of the other class, or leave the site out with sites=[...]",
        )
