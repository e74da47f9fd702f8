"""CPU seconds a view and memory of a private step, by engine, image size and network, beside ordinary training.

Run from the repository's root: ``python benchmarks/privacy_cost.py [BACKBONE ...]``; one core, float32. Every figure
comes from a process of its own, which trains as a site does, augmentation included.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.training import Round, train
from common.configuration import ImagingConfig, ModelConfig, PrivacyConfig, TaskConfig, TrainingConfig
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry
from common.models.network import build_network

PATIENTS = {1024: 1, 512: 2, 256: 8}
"""In a step, by rows; each has two breasts of two views."""
TOGETHER = {1024: 2, 512: 4, 256: 4}
"""Breasts a batch, of ordinary training and of the vectorised engine."""
REPETITIONS = {1024: 1, 512: 1, 256: 2}
WAYS = ("ordinary", "accumulated", "vectorised")


def site_of(folder: Path, rows: int) -> SiteData:
    """Patients whose images are noise on frames of 3:4."""
    random, columns = np.random.default_rng(0), rows * 3 // 4
    breasts, images = [], []
    for number in range(2 * PATIENTS[rows]):
        views, kept = [], []
        for name in ("CC", "MLO"):
            file = folder / f"{number}-{name}.npy"
            np.save(file, random.normal(0.0, 1.0, (rows, columns)).clip(-2, 2).astype(np.float16))
            views.append(View(file, name, 2, None))
            whole = (0, 0, columns, rows)
            geometry = Geometry(rows, columns, whole, False, False, rows, columns, (rows, columns), 0)
            facts = ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{number:064x}", False, False, 0.5))
            kept.append(CachedImage(file, geometry, facts))
        label, patient = ("malignant", "normal")[number % 2], f"p{number // 2}"
        breasts.append(Breast(patient, "1", "LR"[number % 2], label, "train", tuple(views)))
        images.append(tuple(kept))
    return SiteData("COST", tuple(breasts), tuple(images))


def task_of(backbone: str, rows: int, way: str) -> TaskConfig:
    """One epoch, which is one step where it is private."""
    private = PrivacyConfig(unit="patient", noise_multiplier=1.0, patients_per_step=PATIENTS[rows], engine=way)
    return TaskConfig(
        imaging=ImagingConfig(height=rows, width=rows * 3 // 4),
        model=ModelConfig(backbone=backbone, norm="group"),
        training=TrainingConfig(batch_size=TOGETHER[rows], precision="fp32", threads=1, balanced_sampling=False),
        privacy=PrivacyConfig() if way == "ordinary" else private,
    )


def cost(backbone: str, rows: int, way: str) -> tuple[float, float]:
    """CPU seconds (the least of the repetitions) and the gigabytes that a step takes over those before it."""
    torch.set_num_threads(1)
    task = task_of(backbone, rows, way)
    model = build_network(task, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        data = site_of(Path(folder), rows)
        before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
        for number in range(REPETITIONS[rows]):
            start = time.process_time()
            train(model, data, task, Round(number + 1, 10, 0, data.site))
            seconds.append(time.process_time() - start)
    return min(seconds), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6


def main() -> None:
    """Print one row a network and size."""
    print("| network | rows | views a step | ordinary, s a view | GB | accumulated | GB | vectorised | GB |")
    print("|---|---|---|---|---|---|---|---|---|")
    context = multiprocessing.get_context("fork")  # before torch has threads; imports take longer than a step
    for backbone in sys.argv[1:] or ("resnet18", "resnet8"):
        for rows, patients in PATIENTS.items():
            cells, ordinary = [], 0.0
            for way in WAYS:
                with context.Pool(1) as pool:
                    seconds, gigabytes = pool.apply(cost, (backbone, rows, way))
                ordinary = ordinary or seconds
                times = "" if way == "ordinary" else f" ({seconds / ordinary:.2f} times)"
                cells += [f"{seconds / (4 * patients):.3g}{times}", f"{gigabytes:.2f}"]
            print(f"| {backbone} | {rows} | {4 * patients} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
