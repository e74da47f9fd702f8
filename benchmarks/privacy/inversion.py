"""What does a gradient betray of the picture it comes from? Three attacks, with patient-level privacy and without.

From the repository's root: ``python benchmarks/privacy/inversion.py [REBUILT] [EPSILON ...]``, by default 4 pictures
at epsilon inf, 8, 3 and 1. The attacker's best case, better than what he gets of a round: the gradient of one patient's
one view alone, of an untrained network which he knows, and her truth. Noise is that of one step of a run which costs
the stated epsilon in all.

* ``found``: he has pictures of all 60 patients and asks whose gradient points most nearly the way of the one he saw.
  Guessing is right for one in that many.
* ``rebuilt``: he looks for the picture whose gradient does (cosine similarity, total variation as the prior on
  pictures; Geiping et al. 2020, "Inverting Gradients", arXiv 2003.14053, equation 4).
* ``rebuilt, dense``: as if the network began with a fully connected layer: then its gradient holds the picture itself
  (Phong et al. 2018, "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption", section 3).

Prints a Markdown table: likeness of what he rebuilds to what was there (structural similarity, correlation of pixels).
The last row is what he gets out of noise alone.
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
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from client.privacy.mechanism import ClippedSum, noisy_mean
from client.privacy.noise_level import noise_multiplier_of
from client.privacy.plan import steps_of_round
from client.site import Site, load_site
from common.configuration import ImagingConfig, ModelConfig, PrivacyConfig, TaskConfig, TrainingConfig
from common.data.dataset import make_batch
from common.entropy import Entropy
from common.models.network import build_network
from common.offline import switch_off
from simulations.phantom.dataset import write_site

SITE, TRAINED, ROUNDS = "MCS", 120, 30
"""Patients of the site and rounds of the run, which settle how much noise epsilon asks for."""
CANDIDATES = 60
"""Patients among whom the first attacker looks."""
STEPS, RATE, SMOOTHNESS = 400, 0.05, 1e-3
HIDDEN = 32
"""Units of the fully connected layer."""
Gradients = Sequence[torch.Tensor]


def gradients_of(
    model: nn.Module, image: torch.Tensor, target: torch.Tensor, *, create_graph: bool = False
) -> Gradients:
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


def cosine_of(first: Gradients, second: Gradients) -> torch.Tensor:
    """Cosine of the angle between two gradients."""
    dot = torch.stack([(one * other).sum() for one, other in zip(first, second, strict=True)]).sum()
    lengths = [torch.stack([value.norm() for value in item]).norm() for item in (first, second)]
    return dot / (lengths[0] * lengths[1] + 1e-12)


def read_off(shown: Gradients, shape: torch.Size) -> torch.Tensor:
    r"""The picture that a fully connected first layer's gradient holds.

    Of unit *i* the weights' gradient is :math:`\delta_i x`, the bias' :math:`\delta_i`: least squares over all units.
    """
    weights, biases = shown[0], shown[1]
    return ((biases[:, None] * weights).sum(dim=0) / biases.square().sum().clamp_min(1e-30)).reshape(shape)


def rebuild(model: nn.Module, target: torch.Tensor, shown: Gradients, shape: torch.Size, seed: int) -> torch.Tensor:
    """The picture, within the range that pictures have, whose gradient points most nearly the way of ``shown``."""
    found = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(0.1).requires_grad_()
    optimizer = torch.optim.Adam([found], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        cosine = cosine_of(gradients_of(model, found, target, create_graph=True), shown)
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


def attack(
    models: Sequence[nn.Module], images: torch.Tensor, targets: torch.Tensor, epsilon: float | None, rebuilds: int
) -> str:
    """Row of the table; ``epsilon`` none: noise alone is shown.

    Args:
        models: of the product, and one that begins with a fully connected layer.
        images: one view of every patient.
        targets: the truth of each.
        epsilon: of the run.
        rebuilds: so many pictures are to be rebuilt, which takes long.
    """
    network, dense = models
    known = [gradients_of(network, images[number, None], targets[number, None]) for number in range(len(images))]
    right, rebuilt, read = 0, [], []
    for number, gradients in enumerate(known):
        image, target = images[number, None], targets[number, None]
        shown = _shown(gradients, epsilon, number)
        right += int(np.argmax([float(cosine_of(shown, other)) for other in known])) == number
        if number >= rebuilds:
            continue
        rebuilt.append(likeness(rebuild(network, target, shown, image.shape, number), image))
        held = _shown(gradients_of(dense, image, target), epsilon, number)
        read.append(likeness(read_off(held, image.shape), image))
    name = "nothing but noise" if epsilon is None else f"{epsilon:g}"
    likenesses = " | ".join(f"{value:.3f}" for pairs in (rebuilt, read) for value in np.mean(pairs, axis=0))
    return f"| {name} | {right} of {len(images)} | {likenesses} |"


def _shown(gradients: Gradients, epsilon: float | None, number: int) -> Gradients:
    if epsilon is not None:
        return seen(gradients, epsilon, Entropy(number))
    random = torch.Generator().manual_seed(number)
    return [torch.randn(value.shape, generator=random) for value in gradients]


def main() -> None:
    """Attack patients' first views at every level."""
    switch_off()
    torch.set_num_threads(1)
    rebuilds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    levels = [float(text) for text in sys.argv[2:]] or [math.inf, 8.0, 3.0, 1.0]
    task = TaskConfig(
        imaging=ImagingConfig(height=64, width=48),
        model=ModelConfig(backbone="resnet8", norm="group"),
        training=TrainingConfig(threads=1),
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_site(SITE, CANDIDATES, folder / "site", rows=128)
        data = load_site(Site(SITE, folder / "site", folder / "state"), task)
        batch = make_batch(data, range(CANDIDATES))
    first = [int(torch.nonzero(batch.breast_of_image == number)[0]) for number in range(CANDIDATES)]
    torch.manual_seed(0)
    pixels = task.imaging.height * task.imaging.width
    dense = nn.Sequential(nn.Flatten(), nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    models = (build_network(task, seed=0).eval(), dense)
    print(
        "| epsilon of the run | found | rebuilt: similarity | correlation | rebuilt, dense: similarity | correlation |"
    )
    print("|---|---|---|---|---|---|")
    for epsilon in [*levels, None]:
        print(attack(models, batch.images[first], batch.targets, epsilon, rebuilds), flush=True)


if __name__ == "__main__":
    main()
