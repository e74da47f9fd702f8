"""Can an attacker rebuild a mammogram from a gradient? Gradient inversion, with patient-level privacy and without.

From the repository's root: ``python benchmarks/privacy/inversion.py [PATIENTS] [EPSILON ...]``, by default 6 patients at
epsilon inf, 8, 3 and 1. The attacker's best case, better than what he gets: he sees the gradient of one patient's one
view alone, of the untrained network, which he knows, and knows her truth. He looks for the picture whose gradient
points the same way (cosine similarity, total variation as the prior on pictures; Geiping et al. 2020, "Inverting
Gradients", arXiv 2003.14053, equation 4). Noise is that of one step of a run which costs the stated epsilon in all.

Prints a Markdown table: likeness of what he finds to what was there, and how often it is most like the right one of
all the patients' views, where guessing is right for one in that many. ``nothing seen``: he is given noise alone.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from client.privacy.entropy import Entropy
from client.privacy.mechanism import ClippedSum, noisy_mean
from client.privacy.noise_level import noise_multiplier_of
from client.privacy.plan import steps_of_round
from client.site import Site, load_site
from common.configuration import ImagingConfig, ModelConfig, PrivacyConfig, TaskConfig, TrainingConfig
from common.data.dataset import make_batch
from common.models.network import Network, build_network
from common.offline import switch_off
from simulations.phantom.dataset import write_site

SITE, TRAINED, ROUNDS = "MCS", 120, 30
"""Patients of the site and rounds of the run, which settle how much noise epsilon asks for."""
STEPS, RATE, SMOOTHNESS = 1500, 0.05, 1e-3
Gradients = Sequence[torch.Tensor]


def gradients_of(model: Network, image: torch.Tensor, target: torch.Tensor, *, create_graph: bool) -> Gradients:
    """Gradient of one view's cross-entropy by all parameters."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(image).flatten(), target)
    return torch.autograd.grad(loss, list(model.parameters()), create_graph=create_graph)


def seen(gradients: Gradients, epsilon: float, entropy: Entropy) -> Gradients:
    """What the site shows of a gradient: all of it, or clipped and under the noise of a step."""
    if math.isinf(epsilon):
        return gradients
    privacy = PrivacyConfig(unit="patient", epsilon=epsilon)
    noise = noise_multiplier_of(privacy, TRAINED, 1, ROUNDS)
    rate = steps_of_round(privacy, 1, TRAINED, noise).sample_rate
    clipped = ClippedSum.of_nobody(gradients, privacy.clip_norm)
    clipped.add(gradients, 0.0)
    return [value.float() for value in noisy_mean(clipped, noise, rate * TRAINED, entropy)]


def rebuild(model: Network, target: torch.Tensor, shown: Gradients, shape: torch.Size, seed: int) -> torch.Tensor:
    """The picture, within the range that pictures have, whose gradient points most nearly the way of ``shown``."""
    found = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(0.1).requires_grad_()
    optimizer = torch.optim.Adam([found], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    length = torch.stack([value.norm() for value in shown]).norm()
    for _ in range(STEPS):
        own = gradients_of(model, found, target, create_graph=True)
        dot = sum((mine * theirs).sum() for mine, theirs in zip(own, shown, strict=True))
        cosine = dot / (torch.stack([value.norm() for value in own]).norm() * length + 1e-12)
        variation = found.diff(dim=2).abs().mean() + found.diff(dim=3).abs().mean()
        (found.grad,) = torch.autograd.grad(1 - cosine + SMOOTHNESS * variation, [found])
        found.grad.sign_()  # as the authors do
        optimizer.step()
        schedule.step()
    return found.detach()


def likeness(found: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Structural similarity (Wang et al. 2004), and correlation of the pixels."""
    first, second = (value[0, 0].numpy() for value in (found, truth))
    span = float(second.max() - second.min())
    return (
        float(structural_similarity(first, second, data_range=span)),
        float(np.corrcoef(first.ravel(), second.ravel())[0, 1]),
    )


def attack(model: Network, images: torch.Tensor, targets: torch.Tensor, epsilon: float | None) -> str:
    """Row of the table; ``epsilon`` none: noise alone is shown."""
    similar, correlated, right = [], [], 0
    for number in range(len(images)):
        image, target = images[number, None], targets[number, None]
        gradients = gradients_of(model, image, target, create_graph=False)
        if epsilon is None:
            random = torch.Generator().manual_seed(number)
            shown: Gradients = [torch.randn(value.shape, generator=random) for value in gradients]
        else:
            shown = seen(gradients, epsilon, Entropy(number))
        found = rebuild(model, target, shown, image.shape, number)
        scores = [likeness(found, other[None]) for other in images]
        similar.append(scores[number][0])
        correlated.append(scores[number][1])
        right += int(np.argmax([score[1] for score in scores])) == number
    name = "nothing seen" if epsilon is None else f"{epsilon:g}"
    return f"| {name} | {np.mean(similar):.3f} | {np.mean(correlated):.3f} | {right} of {len(images)} |"


def main() -> None:
    """Attack every patient's first view at every level."""
    switch_off()
    torch.set_num_threads(1)
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    levels = [float(text) for text in sys.argv[2:]] or [math.inf, 8.0, 3.0, 1.0]
    task = TaskConfig(
        imaging=ImagingConfig(height=64, width=48),
        model=ModelConfig(backbone="resnet8", norm="group"),
        training=TrainingConfig(threads=1),
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_site(SITE, max(patients, 16), folder / "site", rows=128)
        data = load_site(Site(SITE, folder / "site", folder / "state"), task)
        batch = make_batch(data, range(patients))
    first = [int(torch.nonzero(batch.breast_of_image == number)[0]) for number in range(patients)]
    model = build_network(task, seed=0).eval()
    print("| epsilon of the run | structural similarity | correlation of pixels | most like the right view |")
    print("|---|---|---|---|")
    for epsilon in [*levels, None]:
        print(attack(model, batch.images[first], batch.targets, epsilon), flush=True)


if __name__ == "__main__":
    main()
