"""How quickly training gets its images: from the cache and from files, and the share of a step spent on them.

Run from the repository's root: ``python benchmarks/training_data.py [BACKBONE ...]``
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.compute import choose
from client.site import Site, load_site
from common.configuration import TaskConfig
from common.data.augmentation import augment
from common.data.dataset import Batch, SiteData, make_batch
from common.imaging.preprocessing import prepare_image
from common.models.classifier import build_classifier, pool_views
from simulations.phantom.dataset import write_site

EXAMS, BREASTS, SECONDS = 24, 8, 4.0


def seconds_a_call(action: Callable[[], object]) -> float:
    """Mean CPU time of repeated calls, all threads together, after one that does not count."""
    action()
    calls, begun = 0, time.process_time()
    while time.process_time() - begun < SECONDS or calls < 3:
        action()
        calls += 1
    return (time.process_time() - begun) / calls


def step(task: TaskConfig, batch: Batch) -> Callable[[], None]:
    """Forward and backward pass and optimiser step on one batch."""
    compute, model = choose(task.training), build_classifier(task.model, seed=0)
    compute.place_model(model)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters())

    def run() -> None:
        with compute.autocast():
            views = model(compute.place(batch.images))
        logits = pool_views(views.float(), batch.breast_of_image, len(batch.targets))
        torch.autograd.backward(binary_cross_entropy_with_logits(logits, batch.targets))
        optimizer.step()
        optimizer.zero_grad()

    return run


def from_files(data: SiteData, task: TaskConfig) -> Callable[[], None]:
    """What every batch would cost without a cache."""
    views = [(breast, view) for breast in data.breasts[:BREASTS] for view in breast.views]

    def run() -> None:
        for breast, view in views:
            prepare_image(view.file, breast.laterality, task.imaging)

    return run


def main() -> None:
    """Print a table of reading and one of training steps."""
    torch.set_num_threads(1)
    task = TaskConfig()
    task = replace(task, training=replace(task.training, threads=1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_site("MCS", EXAMS, folder / "MCS")
        data = load_site(Site("MCS", folder / "MCS", folder / "state"), task)
        batch, owner = make_batch(data, range(BREASTS)), torch.Generator().manual_seed(0)
        views = len(batch.images)
        cached = seconds_a_call(lambda: make_batch(data, range(BREASTS)))
        files = seconds_a_call(from_files(data, task))
        changed = seconds_a_call(lambda: augment(batch.images, task.training.augmentation, owner))
        print("| source | views a second |\n|---|---|")
        print(f"| DICOM files of 512 x 384, uncompressed | {views / files:.0f} |")
        print(f"| cache, memory-mapped | {views / cached:.0f} |\n")
        print("| network | step, ms a view | reading from the cache | augmentation | share of reading from files |")
        print("|---|---|---|---|---|")
        for backbone in sys.argv[1:] or ("resnet8", "resnet18"):
            once = seconds_a_call(step(replace(task, model=replace(task.model, backbone=backbone)), batch))
            whole = once + cached + changed
            without = files / (once + files + changed)
            print(
                f"| {backbone} | {1000 * once / views:.1f} | {cached / whole:.1%} | {changed / whole:.1%} "
                f"| {without:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
