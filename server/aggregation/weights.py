"""How much each site's update counts."""

from __future__ import annotations

import math
from collections.abc import Mapping

SiteWeights = dict[str, float]
"""By name of the site; they sum to 1 over all sites of the run."""
ADAPTIVE = ("generalisation_gap", "worst_site")
"""Rules that carry weights from round to round; those of a round are known before it begins."""
LEAST = 1e-6
"""No weight falls to nothing: a round in which only such sites answer must still have a mean."""
_SAME = 1e-9
"""Gaps that differ by a smaller share are the same: dividing by their largest deviation would magnify rounding."""


def site_weight(rule: str, patients: int) -> float:
    """Weight of one site, before normalisation over the sites that took part.

    Args:
        rule: ``patients`` (n_k, FedAvg: McMahan et al. 2017), also the mean that ``gradient_agreement`` stays
            near; or ``equal`` (1).
        patients: training patients of the site, at least 1.

    Raises:
        ValueError: unknown rule or no patients.
    """
    if patients < 1:
        raise ValueError("a site without patients has no weight")
    match rule:
        case "patients" | "gradient_agreement":
            return float(patients)
        case "equal":
            return 1.0
    raise ValueError(f"unknown site weights '{rule}'")


def generalisation_gap(weights: Mapping[str, float], gaps: Mapping[str, float], step: float) -> SiteWeights:
    r"""Sites on which the common model loses most against their own count more.

    :math:`a_k \leftarrow a_k + d\,\frac{G_k - \bar G}{\max_j |G_j - \bar G|}`, then
    :math:`a_k \leftarrow \max(a_k, 0) / \sum_j \max(a_j, 0)`, with the gap :math:`G_k = L_k(w) - L_k(w_k)`
    of the common model w to the site's own model w_k of the same round, before averaging.

    Source: Zhang et al. 2023, "Federated Domain Generalization with Generalization Adjustment" (FedDG-GA), CVPR,
    pages 3954-3963; all begin with the same weight. The authors' code (MediaBrain-SJTU/FedDG-GA, checked in
    ``utils/weight_adjust.py`` and ``algorithms/fedavg/train_pacs_GA.py``) differs from the paper, which is followed
    here: it does not subtract the mean gap, divides by the largest gap instead of the largest deviation, multiplies d
    by the weight that all begin with (1/3), also cuts weights above 1, begins with d (1 + 1/R) of R rounds instead of
    d (1 - 1/R), and takes losses of accuracy for gaps unless asked for ``loss``. As in the code, gaps are those on
    validation patients. Ours alone: no weight falls below :data:`LEAST`.

    Partial participation: sites without a gap (they did not train, or could not be measured) are left out of mean
    and maximum and keep their weight up to normalisation.

    Args:
        weights: of all sites.
        gaps: of the sites that were measured.
        step: d of the round; the paper lets it fall linearly to 0.
    """
    middle = sum(gaps.values()) / len(gaps) if gaps else 0.0
    largest = max((abs(gap - middle) for gap in gaps.values()), default=0.0)
    if largest <= _SAME * max((abs(gap) for gap in gaps.values()), default=0.0):
        return dict(weights)
    moved = {
        site: max(weight + step * (gaps[site] - middle) / largest, LEAST) if site in gaps else weight
        for site, weight in weights.items()
    }
    return _normalised(moved)


def worst_site(weights: Mapping[str, float], losses: Mapping[str, float], step: float) -> SiteWeights:
    r"""Sites with a high loss count more, so that the worst site becomes as good as it can.

    Agnostic federated learning, :math:`\min_w \max_{\lambda \in \Delta} \sum_k \lambda_k L_k(w)` (Mohri et al. 2019,
    arXiv 1902.00146). One ascent step in :math:`\lambda`, whose gradient is the vector of losses
    (their STOCHASTIC-AFL), here exponentiated: :math:`\lambda_k \propto \lambda_k e^{\gamma L_k}` (as in Sagawa et al.
    2020, arXiv 1911.08731). The paper adds :math:`\gamma L_k` and projects onto the simplex, which may take
    a hospital's weight to nothing at once; it does so with every gradient step, and not once a round. Checked against
    other people's code (litian96/fair_flearn, ``flearn/trainers/afl.py``); none by the authors was found.

    Partial participation: the measured sites share among themselves the weight that they had together; a site
    without a loss keeps its own.

    A site's weight goes by what it says of its loss: only for sites that trust each other.

    Args:
        weights: of all sites.
        losses: of the common model, at the sites that were measured.
        step: gamma.
    """
    if not losses:
        return dict(weights)
    together = sum(weights[site] for site in losses)
    highest = max(losses.values())
    grown = {site: weights[site] * math.exp(step * (loss - highest)) for site, loss in losses.items()}
    total = sum(grown.values())
    moved = {
        site: max(together * grown[site] / total, LEAST) if site in losses else weight
        for site, weight in weights.items()
    }
    return _normalised(moved)


def _normalised(weights: SiteWeights) -> SiteWeights:
    total = sum(weights.values())
    return {site: weight / total for site, weight in weights.items()}
