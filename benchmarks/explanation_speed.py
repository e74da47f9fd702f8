"""CPU time of one view's explanation by every method, as a multiple of one forward and backward pass.

Run from the repository's root: ``python benchmarks/explanation_speed.py [BACKBONE] [ROWS ...]``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.explanation.explainers import EXPLAINERS
from common.configuration import EvaluationConfig, ModelConfig
from common.models.classifier import build_classifier

ROWS = (256, 512, 1024)
SECONDS = 1.0
"""CPU time of a measurement, after one call to warm up; at least one call."""


def seconds_a_call(work: Callable[[], object], warm_up: bool = True) -> float:
    """CPU seconds of one call."""
    if warm_up:
        work()
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SECONDS or not calls:
        work()
        calls += 1
    return spent / calls


def main() -> None:
    """Print one row per method, one column per size; one thread, float32, with the default background."""
    torch.set_num_threads(1)
    backbone = sys.argv[1] if len(sys.argv) > 1 else "resnet18"
    sizes = [(rows, rows * 3 // 4) for rows in map(int, sys.argv[2:])] or [(rows, rows * 3 // 4) for rows in ROWS]
    model = build_classifier(ModelConfig(backbone=backbone, pooling="lse"), seed=0).eval()
    drawn = torch.Generator().manual_seed(0)
    views = {size: torch.randn(1, 1, *size, generator=drawn).clamp(min=-2.5) for size in sizes}
    background = EvaluationConfig().background

    def pass_of(size: tuple[int, int]) -> None:
        point = views[size].requires_grad_()
        model(point).sum().backward()
        model.zero_grad()

    passes = {size: seconds_a_call(lambda size=size: pass_of(size)) for size in sizes}
    print(f"{backbone}, {background} background views")
    print("| method | " + " | ".join(f"{rows} by {columns}" for rows, columns in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    print("| forward and backward | " + " | ".join(f"{passes[size]:.3f} s" for size in sizes) + " |", flush=True)
    for name, explainer in EXPLAINERS.items():
        cells = []
        for size in sizes:
            view = views[size].detach()
            others = torch.randn(background, 1, *size, generator=drawn).clamp(min=-2.5)
            # A call of minutes needs no other one before it.
            slow = name in ("scorecam", "ablationcam", "expected_gradients")
            spent = seconds_a_call(lambda: explainer(model, view, others), warm_up=not slow)  # noqa: B023
            cells.append(f"{spent / passes[size]:.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
