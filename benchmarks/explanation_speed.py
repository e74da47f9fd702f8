"""CPU time of one view's explanation by every method, as a multiple of one forward and backward pass.

Run from the repository's root:
``python benchmarks/explanation_speed.py [BACKBONE] [--size ROWS ...] [--method EXPLAINER ...] [--seconds SECONDS]``.
A view has three quarters as many columns as rows.
"""

from __future__ import annotations

import argparse
import importlib
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


def seconds_a_call(work: Callable[[], object], at_least: float, warm_up: bool = True) -> float:
    """CPU seconds of one call: the mean over ``at_least`` seconds, after one call to warm up; one call at least."""
    if warm_up:
        work()
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < at_least or not calls:
        work()
        calls += 1
    return spent / calls


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", nargs="?", default="resnet18")
    parser.add_argument("--size", type=int, nargs="+", default=ROWS, metavar="ROWS", help="rows of a view")
    parser.add_argument("--method", nargs="+", default=list(EXPLAINERS), choices=list(EXPLAINERS), metavar="EXPLAINER")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="CPU time of one measurement")
    return parser.parse_args()


def main() -> None:
    """Print one row per method, one column per size; one thread, float32, with the default background."""
    importlib.import_module("client.explanation.attribution")  # or the first explanation would pay for shap's import
    torch.set_num_threads(1)
    options = arguments()
    sizes = [(rows, rows * 3 // 4) for rows in options.size]
    model = build_classifier(ModelConfig(backbone=options.backbone, pooling="lse"), seed=0).eval()
    drawn = torch.Generator().manual_seed(0)
    views = {size: torch.randn(1, 1, *size, generator=drawn).clamp(min=-2.5) for size in sizes}
    background = EvaluationConfig().background

    def pass_of(size: tuple[int, int]) -> None:
        point = views[size].requires_grad_()
        model(point).sum().backward()
        model.zero_grad()

    passes = {size: seconds_a_call(lambda size=size: pass_of(size), options.seconds) for size in sizes}
    print(f"{options.backbone}, {background} background views")
    print("| method | " + " | ".join(f"{rows} by {columns}" for rows, columns in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    print("| forward and backward | " + " | ".join(f"{passes[size]:.3f} s" for size in sizes) + " |", flush=True)
    for name in options.method:
        cells = []
        for size in sizes:
            view = views[size].detach()
            others = torch.randn(background, 1, *size, generator=drawn).clamp(min=-2.5)
            # A call of minutes needs no other one before it.
            slow = name in ("scorecam", "ablationcam", "shap", "expected_gradients")
            work = lambda: EXPLAINERS[name](model, view, others)  # noqa: B023, E731
            cells.append(f"{seconds_a_call(work, options.seconds, warm_up=not slow) / passes[size]:.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
