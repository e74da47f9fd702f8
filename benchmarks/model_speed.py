"""Images per CPU second of one core, training and inference, of every backbone in both precisions.

Run from the repository's root: ``python benchmarks/model_speed.py [BACKBONE ...]``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.compute import Compute
from common.configuration import ModelConfig, TrainingConfig
from common.models.backbones import BACKBONES
from common.models.classifier import build_classifier
from common.models.parameter_groups import parameter_groups

SIZES = ((256, 192), (512, 384))
VIEWS = {256: 16, 512: 4}
"""Views a batch by rows: the same number of pixels, so that memory does not decide."""
SECONDS = 3.0
"""CPU time of a measurement, after one step to warm up."""


def views_per_second(step: Callable[[], object], views: int) -> float:
    """Views per CPU second of a repeated step."""
    step()
    steps, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SECONDS or steps < 2:
        step()
        steps += 1
    return steps * views / spent


def speeds(backbone: str, size: tuple[int, int], compute: Compute) -> tuple[float, float]:
    """Views per CPU second in training and in inference."""
    model = build_classifier(ModelConfig(backbone=backbone), seed=0)
    compute.place_model(model)
    optimizer = torch.optim.AdamW(parameter_groups(model, TrainingConfig()))
    views = VIEWS[size[0]]
    images = compute.place(torch.randn(views, 1, *size, generator=torch.Generator().manual_seed(0)))
    targets = (torch.arange(views) % 2).float()

    def train() -> None:
        with compute.autocast():
            logits = model(images)
        torch.autograd.backward(binary_cross_entropy_with_logits(logits.float(), targets))
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.inference_mode(), compute.autocast():
            model(images)

    trained = views_per_second(train, views)
    model.eval()
    return trained, views_per_second(infer, views)


def main() -> None:
    """Print one row per backbone and size; all in channels-last layout, as sites use it."""
    torch.set_num_threads(1)
    computes = [Compute(torch.device("cpu"), bf16) for bf16 in (False, True)]
    print("| backbone | million parameters | size | training fp32 | bf16 | inference fp32 | bf16 |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or BACKBONES:
        model = build_classifier(ModelConfig(backbone=name), seed=0)
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        for size in SIZES:
            plain, mixed = (speeds(name, size, compute) for compute in computes)
            figures = " | ".join(f"{value:.1f}" for value in (plain[0], mixed[0], plain[1], mixed[1]))
            print(f"| {name} | {millions:.1f} | {size[0]} by {size[1]} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
