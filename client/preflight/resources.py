"""What training would cost on this machine: disk, memory and time, measured on two steps."""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from client.preflight.examination import Examination
from client.preflight.finding import Affected, Finding, finding
from client.privacy.plan import Steps, steps_of_round
from client.tasks.work import work_of
from client.training import Round, train
from common.configuration import TaskConfig
from common.data.cache import CachedImage
from common.data.cache_folder import free_bytes, gigabytes
from common.data.dataset import SiteData
from common.data.manifest import Breast
from common.errors import NoLesionError, OneClassSiteError
from common.models.network import build_network

STEPS = 2
NOTE_BYTES = 2000
"""Of an entry's JSON, with its share of folders."""


@dataclass(frozen=True)
class Resources:
    """Sizes in bytes, times in seconds; ``None`` where nothing could be tried."""

    cache_bytes: int
    """Prepared images of this task, all of them."""
    disk_free_bytes: int
    memory_free_bytes: int | None
    peak_memory_bytes: int | None
    """Of this process during the trial."""
    device: str
    steps_per_round: int
    seconds_per_round: float | None
    """Training only, local epochs included."""


def measure(examined: Examination) -> Resources:
    """Look at disk and memory, and try two training steps on the site's own images."""
    task = examined.task
    one = task.imaging.height * task.imaging.width * 2 + NOTE_BYTES
    data = _training_data(examined)
    seconds, peak = _trial(data, task) if data else (None, None)
    steps = _steps_per_round(data, task) if data else 0
    return Resources(
        cache_bytes=one * len(examined.views),
        disk_free_bytes=free_bytes(examined.site.cache),
        memory_free_bytes=_free_memory(),
        peak_memory_bytes=peak,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
        steps_per_round=steps,
        seconds_per_round=None if seconds is None else seconds * steps,
    )


def shortages(examined: Examination, found: Resources) -> list[Finding]:
    """Findings on disk and memory."""
    missing = found.cache_bytes - sum(isinstance(item.outcome, CachedImage) for item in examined.views) * (
        found.cache_bytes // max(1, len(examined.views))
    )
    disk = [
        Affected("", f"{gigabytes(missing)} are needed, {gigabytes(found.disk_free_bytes)} are free")
        for _ in range(missing > found.disk_free_bytes)
    ]
    memory = []
    if found.peak_memory_bytes and found.memory_free_bytes and found.peak_memory_bytes > found.memory_free_bytes / 2:
        memory = [
            Affected("", f"{gigabytes(found.peak_memory_bytes)} taken, {gigabytes(found.memory_free_bytes)} are free")
        ]
    return [item for item in (finding("disk", disk), finding("memory", memory)) if item.affected]


def _training_data(examined: Examination) -> SiteData | None:
    """The usable training breasts; ``None`` where they cannot be trained on."""
    images: dict[str, list[CachedImage]] = {}
    breasts: dict[str, Breast] = {}
    for item in examined.usable:
        if item.breast.split == "train":
            key = item.breast.key
            seen = breasts[key].views if key in breasts else ()
            breasts[key] = replace(item.breast, views=(*seen, item.view))
            images.setdefault(key, []).append(item.image)
    if not breasts:
        return None
    data = SiteData(examined.site.name, tuple(breasts.values()), tuple(tuple(images[key]) for key in breasts))
    try:
        return work_of(examined.task).trainable(data, examined.task)
    except (OneClassSiteError, NoLesionError):
        return None


def _steps_per_round(data: SiteData, task: TaskConfig) -> int:
    plan = _plan(data, task)
    return plan.steps if plan else -(-len(data.breasts) // task.training.batch_size) * task.training.local_epochs


def _plan(data: SiteData, task: TaskConfig) -> Steps | None:
    """Of private training; time and memory do not depend on how much noise there is."""
    if task.privacy.unit == "none":
        return None
    return steps_of_round(task.privacy, task.training.local_epochs, data.patients, 1.0)


def _trial(data: SiteData, task: TaskConfig) -> tuple[float, int]:
    """Seconds a step, after one that does not count, and the peak memory of the process in bytes."""
    order = np.argsort(-work_of(task).kinds(data, task), kind="stable")
    wanted = min(STEPS * task.training.batch_size, len(order))
    chosen = [*order[: -(-wanted // 2)], *order[len(order) - wanted // 2 :]]
    few = replace(
        data,
        breasts=tuple(data.breasts[index] for index in chosen),
        views=tuple(data.views[index] for index in chosen),
    )
    once = replace(task, training=replace(task.training, local_epochs=1))
    model = build_network(task, seed=0)
    part = Round(1, 1, 0, f"{data.site}: trial")
    train(model, few, once, part, _plan(few, once))
    result = train(model, few, once, part, _plan(few, once))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result.seconds / result.steps, peak


def _free_memory() -> int | None:
    """Available memory as Linux states it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
