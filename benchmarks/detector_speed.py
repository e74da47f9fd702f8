"""CPU milliseconds a view of the detector, training and looking, by width, precision and memory layout; memory a view.

Run from the repository's root: ``python benchmarks/detector_speed.py [BACKBONE ...]``; one core.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.compute import Compute
from common.configuration import DetectorConfig, ImagingConfig, ModelConfig, TaskConfig
from common.models.network import build_network
from common.models.parameter_groups import parameter_groups

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
CHANNELS = (32, 128)
"""Of pyramid and towers: with 32 each group of the normalisation is one channel."""
ROWS = 512
MEMORY_ROWS = (1024, 2048)
STEPS = 3


def task_of(backbone: str, channels: int, rows: int) -> TaskConfig:
    """A detector on frames of 3:4."""
    return TaskConfig(
        task="detector",
        imaging=ImagingConfig(height=rows, width=rows * 3 // 4),
        model=ModelConfig(backbone=backbone, norm="group"),
        detector=DetectorConfig(channels=channels, tower_convolutions=2),
    )


def milliseconds(step: Callable[[], object], views: int) -> float:
    """CPU time a view, after one step to warm up."""
    step()
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return 1000 * (time.process_time() - start) / STEPS / views


def steps(task: TaskConfig, views: int, bf16: bool, layout: torch.memory_format) -> tuple[Callable[[], None], ...]:
    """A training step, and a look without one."""
    compute = Compute(torch.device("cpu"), bf16)
    model = build_network(task, seed=0).to(memory_format=layout)
    size = (task.imaging.height, task.imaging.width)
    images = torch.randn(views, 1, *size, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    boxes = [torch.tensor([[20.0, 20.0, 60.0, 60.0]]) if number % 2 else torch.empty(0, 4) for number in range(views)]
    optimizer = torch.optim.AdamW(parameter_groups(model, task.training))

    def train() -> None:
        model.train()
        with compute.autocast():
            found = model(images)
        torch.autograd.backward(model.losses(found, boxes).mean())
        optimizer.step()
        optimizer.zero_grad()

    def look() -> None:
        model.eval()
        with torch.inference_mode(), compute.autocast():
            found = model(images)
        model.detections([found], [False])

    return train, look


def peak_gigabytes(backbone: str, rows: int, training: bool) -> float:
    """Memory that one view takes over that of the model, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_peak, (backbone, rows, training)))


def _peak(backbone: str, rows: int, training: bool) -> float:
    torch.set_num_threads(1)
    train, look = steps(task_of(backbone, CHANNELS[-1], rows), 1, False, torch.contiguous_format)
    before = _high_water()
    (train if training else look)()
    return (_high_water() - before) / 1e6


def _high_water() -> int:
    """Largest memory of this process so far, kB (Linux; ``ru_maxrss`` would count what the parent once had)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Print two tables: time by precision and layout, memory by rows."""
    torch.set_num_threads(1)
    backbones = sys.argv[1:] or ["resnet8", "resnet18"]
    print(f"| backbone | channels | layout | training fp32, ms a view of {ROWS} rows | bf16 | looking fp32 | bf16 |")
    print("|---|---|---|---|---|---|---|")
    for backbone, channels, (name, layout) in itertools.product(backbones, CHANNELS, LAYOUTS.items()):
        plain, mixed = (
            [milliseconds(step, 2) for step in steps(task_of(backbone, channels, ROWS), 2, bf16, layout)]
            for bf16 in (False, True)
        )
        figures = " | ".join(f"{value:.0f}" for value in (plain[0], mixed[0], plain[1], mixed[1]))
        print(f"| {backbone} | {channels} | {name} | {figures} |", flush=True)
    print("\n| backbone | rows | training, GB a view | looking, GB a view |\n|---|---|---|---|")
    for backbone in backbones:
        for rows in MEMORY_ROWS:
            taken = " | ".join(f"{peak_gigabytes(backbone, rows, training):.2f}" for training in (True, False))
            print(f"| {backbone} | {rows} | {taken} |", flush=True)


if __name__ == "__main__":
    main()
