"""Looks at every image of a site as training would, and remembers what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from client.site import Site, require_version
from common import progress
from common.configuration import TaskConfig
from common.data.cache import CachedImage, ImageCache
from common.data.manifest import Breast, Manifest, View, examine_manifest
from common.data.preparation import Job, Unusable, prepare_all
from common.data.scale import unscaled
from common.data.split import assign_splits
from common.errors import XaiFederationError


@dataclass(frozen=True)
class ExaminedView:
    """One image of the manifest, and what became of it."""

    breast: Breast
    view: View
    outcome: CachedImage | Unusable


@dataclass(frozen=True)
class UsableView:
    """An image that training will use."""

    breast: Breast
    view: View
    image: CachedImage


@dataclass(frozen=True)
class Examination:
    """Everything seen at a site. ``manifest`` holds the rows that are right, with splits."""

    site: Site
    task: TaskConfig
    manifest: Manifest
    problems: tuple[XaiFederationError, ...]
    """Of the manifest."""
    views: tuple[ExaminedView, ...]

    @property
    def usable(self) -> Iterator[UsableView]:
        """Views with a prepared image, in the order of the manifest."""
        for item in self.views:
            if isinstance(item.outcome, CachedImage):
                yield UsableView(item.breast, item.view, item.outcome)

    @property
    def breasts(self) -> list[Breast]:
        """Breasts with at least one usable view."""
        return list({item.breast.key: item.breast for item in self.usable}.values())


def examine(site: Site, task: TaskConfig, workers: int | None = None) -> Examination:
    """Read the manifest and prepare every image; nothing stops at the first problem.

    Prepared images go to the site's cache, so that training finds them there and an interrupted
    check goes on where it stopped.

    Args:
        site: its manifest is read, its cache is filled.
        task: how images are prepared and patients are split.
        workers: processes; as many as there are CPUs by default.

    Raises:
        ManifestError, MissingColumnError, EmptySiteError: no row of the manifest can be read.
        PreprocessingVersionError: the task is for another version of this software.
        StorageError: the cache cannot be written.
    """
    require_version(task)
    task = unscaled(task)
    manifest, problems = examine_manifest(site.data, site.name)
    manifest = assign_splits(manifest, task.data.validation_fraction, task.data.test_fraction, task.data.fold)
    pairs = [(breast, view) for breast in manifest.breasts for view in breast.views]
    jobs = [Job(view, breast.laterality) for breast, view in pairs]
    views = []
    with progress.track(f"{site.name}: looking at images", len(jobs)) as advance:
        outcomes = prepare_all(ImageCache(site.cache, task.imaging), jobs, workers)
        for (breast, view), outcome in zip(pairs, outcomes, strict=True):
            views.append(ExaminedView(breast, view, outcome))
            advance(1)
    return Examination(site, task, manifest, tuple(problems), tuple(views))
