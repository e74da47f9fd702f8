"""Prepares the images of a site, in several processes where that is quicker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from common.data.cache import CachedImage, ImageCache
from common.data.manifest import View
from common.errors import ManifestError, NoBreastFoundError, UnreadableImageError

SAMPLE = 16
"""So many images are prepared in this process, to learn how long one takes."""
WORTH_A_POOL_SECONDS = 6.0
"""With less work than this left, starting other processes would take longer."""
CHUNK = 8


@dataclass(frozen=True)
class Job:
    """One image to prepare."""

    view: View
    laterality: str


@dataclass(frozen=True)
class Unusable:
    """Why an image cannot be used: the name of the error, and what it says without naming the file."""

    error: str
    reason: str


def prepare_all(cache: ImageCache, jobs: Sequence[Job], workers: int | None = None) -> Iterator[CachedImage | Unusable]:
    """Prepared images in the order of the jobs; for an unusable image the reason instead.

    Args:
        cache: looked up first.
        jobs: what to prepare.
        workers: processes, at most; as many as there are CPUs by default.

    Raises:
        StorageError: from the cache.
    """
    began = time.monotonic()
    for job in jobs[:SAMPLE]:
        yield _prepare(cache, job)
    rest = jobs[SAMPLE:]
    count = workers or os.cpu_count() or 1
    seconds = (time.monotonic() - began) / SAMPLE * len(rest)
    if count == 1 or seconds < WORTH_A_POOL_SECONDS:
        for job in rest:
            yield _prepare(cache, job)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(_prepare, [cache] * len(rest), rest, chunksize=CHUNK)


def _prepare(cache: ImageCache, job: Job) -> CachedImage | Unusable:
    try:
        return cache.get(job.view.file, job.laterality, job.view.spacing_mm)
    except (UnreadableImageError, NoBreastFoundError, ManifestError) as error:
        return Unusable(type(error).__name__, error.what)
