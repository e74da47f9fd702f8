"""A site's breasts with their prepared images, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from common.configuration import DataConfig, ImagingConfig
from common.data.cache import CachedImage, ImageCache
from common.data.manifest import Breast, Manifest, View
from common.data.preparation import Job, Unusable, prepare_all
from common.errors import BoxOutsideImageError, ManifestError, UnreadableImageError

if TYPE_CHECKING:  # what only looks at a site's images needs no torch
    import torch

SHOWN = 10
EDGE_TOLERANCE = 1.0
"""Boxes may reach this many pixels over the far edges (rounding in annotation tools)."""


@dataclass(frozen=True)
class SkippedImage:
    """An image left out, and why."""

    file: Path
    line: int
    reason: str


@dataclass(frozen=True)
class SiteData:
    """Breasts of a site, and for each breast its views' prepared images in the order of ``breast.views``."""

    site: str
    breasts: tuple[Breast, ...]
    views: tuple[tuple[CachedImage, ...], ...]
    skipped: tuple[SkippedImage, ...] = ()

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len({breast.patient_id for breast in self.breasts})

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """1 for malignant, 0 otherwise, one a breast."""
        return np.array([breast.target for breast in self.breasts], dtype=np.int64)

    def of_split(self, split: str) -> SiteData:
        """The breasts of one split."""
        return self.only([index for index, breast in enumerate(self.breasts) if breast.split == split])

    def only(self, chosen: Sequence[int]) -> SiteData:
        """The breasts at these positions."""
        return replace(
            self,
            breasts=tuple(self.breasts[index] for index in chosen),
            views=tuple(self.views[index] for index in chosen),
        )


@dataclass(frozen=True)
class Batch:
    """Images ``(N, 1, H, W)`` float32, the breast (0..B-1) of each, and targets ``(B,)`` float32."""

    images: torch.Tensor
    breast_of_image: torch.Tensor
    targets: torch.Tensor


def make_batch(data: SiteData, indices: Iterable[int]) -> Batch:
    """Load all views of the given breasts."""
    import torch

    chosen = [int(index) for index in indices]
    pixels = [np.asarray(image.pixels, dtype=np.float32) for index in chosen for image in data.views[index]]
    owners = [position for position, index in enumerate(chosen) for _ in data.views[index]]
    return Batch(
        torch.from_numpy(np.stack(pixels))[:, None],
        torch.tensor(owners, dtype=torch.int64),
        torch.from_numpy(data.targets[chosen].astype(np.float32)),
    )


def merge(sites: Sequence[SiteData]) -> SiteData:
    """All sites as one (for pooled training); patients are told apart by their site."""
    breasts = tuple(
        replace(breast, patient_id=f"{data.site}/{breast.patient_id}") for data in sites for breast in data.breasts
    )
    return SiteData(
        "+".join(data.site for data in sites),
        breasts,
        tuple(views for data in sites for views in data.views),
        tuple(item for data in sites for item in data.skipped),
    )


def prepare_site(
    manifest: Manifest,
    cache_folder: Path,
    imaging: ImagingConfig,
    data: DataConfig,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> SiteData:
    """Prepare every image of a manifest, in several processes where it is worth it.

    Args:
        manifest: with splits assigned.
        cache_folder: where prepared images are kept.
        imaging: what they look like.
        data: ``unreadable`` says whether an unreadable image stops everything or is left out.
        progress: told (done, total) after every image.
        workers: processes; as many as there are CPUs by default.

    Raises:
        UnreadableImageError: with ``stop``, after all images were tried; lists up to ten.
        BoxOutsideImageError: a box reaches over the far edges of its image.
        ManifestError: a fixed spacing is asked for and an image has none.
    """
    jobs = [Job(view, breast.laterality) for breast in manifest.breasts for view in breast.views]
    skipped: list[SkippedImage] = []
    ready: dict[int, CachedImage] = {}
    for number, found in enumerate(prepare_all(ImageCache(cache_folder, imaging), jobs, workers)):
        view = jobs[number].view
        if isinstance(found, Unusable):
            if found.error == ManifestError.__name__:
                raise ManifestError(
                    found.reason,
                    where=f"{manifest.folder}: line {view.line}: {view.file.name}",
                    do="fill the column spacing_mm of the manifest, or set imaging.spacing_mm=null",
                )
            skipped.append(SkippedImage(view.file, view.line, found.reason))
        else:
            ready[number] = found
            _refuse_boxes_outside(view, found, manifest)
        if progress:
            progress(number + 1, len(jobs))
    if skipped and data.unreadable == "stop":
        raise _unreadable(skipped, manifest)
    return _assemble(manifest, ready, tuple(skipped))


def _refuse_boxes_outside(view: View, image: CachedImage, manifest: Manifest) -> None:
    columns, rows = image.geometry.stored_columns, image.geometry.stored_rows
    for box in view.boxes or ():
        if box.x1 > columns + EDGE_TOLERANCE or box.y1 > rows + EDGE_TOLERANCE:
            raise BoxOutsideImageError(
                f"box ({box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}) reaches outside the image of "
                f"{columns} x {rows} pixels",
                where=f"{manifest.folder}: line {view.line}: {view.file.name}",
                do="give pixels of the stored image (columns first), or leave boxes empty if unknown",
            )


def _unreadable(skipped: list[SkippedImage], manifest: Manifest) -> UnreadableImageError:
    shown = [f"line {item.line}: {item.file.name}: {item.reason}" for item in skipped[:SHOWN]]
    more = [f"and {len(skipped) - SHOWN} more"] if len(skipped) > SHOWN else []
    return UnreadableImageError(
        f"{len(skipped)} image{'s' if len(skipped) > 1 else ''} of site {manifest.site} cannot be used",
        where="\n         ".join([str(manifest.folder), *shown, *more]),
        do="restore the files, remove their rows, or set data.unreadable=skip (skipped images are counted)",
    )


def _assemble(manifest: Manifest, ready: dict[int, CachedImage], skipped: tuple[SkippedImage, ...]) -> SiteData:
    """Put images back to their breasts; a breast left without any view falls away."""
    breasts: list[Breast] = []
    images: list[tuple[CachedImage, ...]] = []
    number = 0
    for breast in manifest.breasts:
        numbers = range(number, number + len(breast.views))
        number += len(breast.views)
        kept = [(view, ready[index]) for view, index in zip(breast.views, numbers, strict=True) if index in ready]
        if kept:
            breasts.append(replace(breast, views=tuple(view for view, _ in kept)))
            images.append(tuple(image for _, image in kept))
    return SiteData(manifest.site, tuple(breasts), tuple(images), skipped)
