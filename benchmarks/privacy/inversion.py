"""Can an attacker see a patient in an update? Gradient inversion of one step, at levels of noise.

Run from the repository's root: ``python benchmarks/privacy/inversion.py [PATIENTS] [STEPS]``; one core.

The worst case for the patient: a single view, alone in the step, its label and outline known, and the gradient itself
seen rather than a round's update. Prints a Markdown table.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.privacy.attacks import invert, similarity
from benchmarks.privacy.setting import levels, phantom_site, small_task
from client.privacy.entropy import Entropy
from client.privacy.mechanism import ClippedSum, noisy_mean
from client.privacy.noise_level import noise_multiplier_of
from client.privacy.out_of_place import out_of_place
from common.data.dataset import SiteData, make_batch
from common.models.classifier import AIR
from common.models.network import build_network

PATIENTS_PER_STEP, TRAINED, EPOCHS = 8, 60, 20
"""Of the run whose noise is taken: that of ``membership.py``."""
WEAK = (0.0001, 0.001, 0.01)
"""Noise multipliers far below any useful budget, to see where the picture goes."""


def noises() -> list[tuple[str, float | None]]:
    """Names and noise multipliers; ``None`` is not even clipped."""
    budgets = [
        (level.name, noise_multiplier_of(level.privacy, TRAINED // 2, EPOCHS, 1))
        for level in levels(PATIENTS_PER_STEP)
        if level.privacy.epsilon is not None
    ]
    return [("none", None), ("clipping only", 0.0), *((f"noise {value:g}", value) for value in WEAK), *budgets]


def one_view(data: SiteData, breast: int) -> SiteData:
    """A patient of a single view."""
    return replace(data, breasts=(data.breasts[breast],), views=(data.views[breast][:1],))


def seen_gradient(gradients: tuple[torch.Tensor, ...], noise: float | None) -> list[torch.Tensor]:
    """What leaves the mechanism when nobody else was drawn."""
    if noise is None:
        return list(gradients)
    clipped = ClippedSum.of_nobody(gradients, 1.0)
    clipped.add(gradients, 0.0)
    return [item.float() for item in noisy_mean(clipped, noise, float(PATIENTS_PER_STEP), Entropy())]


def main() -> None:
    """Print a row for every level."""
    torch.set_num_threads(1)
    patients, steps = (int(value) for value in [*sys.argv[1:], "4", "300"][:2])
    task, loss = small_task(EPOCHS), nn.BCEWithLogitsLoss()
    model = build_network(task, seed=0).train()
    found: dict[str, list[float]] = {}
    sigmas = noises()
    with tempfile.TemporaryDirectory() as folder, out_of_place(model):
        data = phantom_site(Path(folder), task, 2 * patients)
        for breast in range(0, 4 * patients, 4):
            batch = make_batch(one_view(data, breast), [0])
            tissue = batch.images > AIR
            true = torch.autograd.grad(loss(model(batch.images), batch.targets), list(model.parameters()))
            for name, noise in sigmas:
                guess = invert(model, loss, batch.targets, seen_gradient(true, noise), tissue, steps)
                found.setdefault(name, []).append(similarity(guess, batch.images, tissue))
    print(f"{patients} patients of one view, {steps} steps of the attack\n")
    print("| privacy | noise multiplier | correlation of what is found with the image | most |\n|---|---|---|---|")
    for name, noise in sigmas:
        values = found[name]
        text = "" if noise is None else f"{noise:.3g}"
        print(f"| {name} | {text} | {np.mean(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()
