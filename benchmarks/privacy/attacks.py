"""The attacks themselves: arrays in, scores out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Scores = npt.NDArray[np.float64]


def advantage(members: Scores, others: Scores, threshold: float) -> float:
    """Share of the members that an attacker recognises, less that of the others taken for members: 0 is guessing.

    Source: Yeom et al. 2018, "Privacy Risk in Machine Learning", definition 4.

    Args:
        members, others: higher = likelier a member.
        threshold: those above are called members; chosen without these scores.
    """
    return float((members > threshold).mean() - (others > threshold).mean())


def best_threshold(members: Scores, others: Scores) -> float:
    """The threshold of the greatest advantage, for use on other scores."""
    levels = np.unique(np.concatenate([members, others]))
    between = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2])
    return float(between[np.argmax([advantage(members, others, level) for level in between])])


def likelihood_ratios(target: Scores, shadows: Scores, is_in: npt.NDArray[np.bool_]) -> Scores:
    """Log-likelihood ratio that each patient was a member, ``(P,)``: how the target model sees the patient, compared
    with models that were and were not trained on that patient.

    Source: Carlini et al. 2022, "Membership Inference Attacks From First Principles" (LiRA), algorithm 1, with one
    variance for all patients, as section IV-C advises for few shadow models.

    Args:
        target: signed logit of the true label by the attacked model, ``(P,)``.
        shadows: the same by models that the attacker trained, ``(S, P)``.
        is_in: whether a shadow model was trained on a patient, ``(S, P)``; each patient once in and once out at least.
    """
    means = [np.where(where, shadows, 0).sum(axis=0) / where.sum(axis=0) for where in (is_in, ~is_in)]
    residuals = np.where(is_in, shadows - means[0], shadows - means[1])
    freedom = shadows.size - 2 * shadows.shape[1]
    variance = (residuals**2).sum() / max(freedom, 1) + 1e-12
    ratio: Scores = ((target - means[1]) ** 2 - (target - means[0]) ** 2) / (2 * variance)
    return ratio


def bound_on_advantage(epsilon: float, delta: float) -> float:
    """Largest advantage that any attacker can have against (epsilon, delta).

    Source: Humphries et al. 2023, "Investigating Membership Inference Attacks under Data Dependencies", theorem 3.1,
    from Kairouz et al. 2015, theorem 2.1.
    """
    return 1.0 if math.isinf(epsilon) else math.tanh(epsilon / 2) + 2 * delta / (math.exp(epsilon) + 1)


def invert(
    model: nn.Module, loss: nn.Module, target: torch.Tensor, seen: list[torch.Tensor], tissue: torch.Tensor, steps: int
) -> torch.Tensor:
    """An image ``(1, 1, H, W)`` whose gradient points where the seen one points.

    Minimises 1 - cosine similarity plus total variation by signed Adam.
    Source: Geiping et al. 2020, "Inverting Gradients - How easy is it to break privacy in federated learning?", eq. 4.

    Args:
        model: whose parameters' gradient was seen.
        loss: of logits and target.
        target: label, which the attacker is taken to know.
        seen: gradient of each learning parameter.
        tissue: bool ``(1, 1, H, W)``; outside is air, which the attacker is taken to know too.
        steps: of Adam.
    """
    parameters = [value for value in model.parameters() if value.requires_grad]
    whole = torch.cat([item.flatten() for item in seen])
    guess = torch.zeros(tissue.shape).normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1).requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps * part // 8 for part in (3, 5, 7)])
    for _ in range(steps):
        image = torch.where(tissue, guess, -3.0)
        gradients = torch.autograd.grad(loss(model(image), target), parameters, create_graph=True)
        distance = 1 - torch.nn.functional.cosine_similarity(
            torch.cat([item.flatten() for item in gradients]), whole, dim=0
        )
        rough = (image.diff(dim=2)[tissue[:, :, 1:]].abs().mean() + image.diff(dim=3)[tissue[..., 1:]].abs().mean()) / 2
        (guess.grad,) = torch.autograd.grad(distance + 1e-3 * rough, [guess])
        guess.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            guess.clamp_(-2.5, 4)
    return torch.where(tissue, guess.detach(), -3.0)


def similarity(found: torch.Tensor, image: torch.Tensor, tissue: torch.Tensor) -> float:
    """Correlation of two images inside the breast: 1 is the same picture, 0 has nothing of it."""
    return float(np.corrcoef(found[tissue].numpy(), image[tissue].numpy())[0, 1])
