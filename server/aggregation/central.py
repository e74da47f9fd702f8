r"""Differential privacy at the server, of whole sites: clipped updates, noise on their mean. Pure functions.

.. math:: \bar\Delta = \frac1N\Big(\sum_k \Delta_k \min\big(1, C/\lVert\Delta_k\rVert_2\big)
          + \mathcal N(0, z^2 C^2 I)\Big)

Source: McMahan, Ramage, Talwar & Zhang 2018, "Learning Differentially Private Recurrent Language Models", arXiv
1710.06963, algorithm 1 with the fixed-denominator estimator; here all N sites of the run take part in every round
(q = 1) and all weigh the same. A site that is there or not moves the sum by at most C, and the mean by at most C/N.

Weights by patients would break that: with sites of 8,000 and 2,000 patients the larger one moves the mean by 0.8 C,
1.6 times as much as C/2, and noise for C/2 is too little by that factor (Flower's ``DifferentialPrivacyServerSide...``
wrappers over a weighted mean). So ``site_weights`` must be ``equal``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from common.packing import Tensors
from common.parameters import squared_norm
from server.aggregation.mean import RunningMean

DELTA = 1e-5
"""At which epsilon of a site is said: far below one over any number of sites."""


def clipped(update: Mapping[str, torch.Tensor], largest: float) -> Tensors:
    """The update, shrunk to an L2 norm of ``largest`` over all its tensors where it is longer."""
    norm = math.sqrt(squared_norm(update))
    factor = min(1.0, largest / norm) if norm else 1.0
    return {name: value.float() * factor for name, value in update.items()}


def noisy_mean(
    mean: RunningMean,
    sites: int,
    largest: float,
    noise_multiplier: float,
    normal: Callable[[int], torch.Tensor],
) -> Tensors:
    """Sum of clipped updates of weight 1, with noise, over the number of sites of the run, float32.

    Args:
        mean: what was folded in; each update clipped to ``largest`` and with weight 1.
        sites: of the run, N. A site that missed the round counts as an update of zero, else the others' answers would
            tell whether it was there.
        largest: C.
        noise_multiplier: z.
        normal: gives so many independent standard normal numbers, float64; nobody may foretell them.

    Raises:
        ValueError: nothing was folded in, or more than ``sites`` updates, or of other weights than 1.
    """
    if not mean.total or not 0 < mean.weight <= sites or mean.weight != round(mean.weight):
        raise ValueError(f"{mean.weight:g} updates of weight 1 of {sites} sites were expected")
    deviation = noise_multiplier * largest
    return {
        name: ((total + deviation * normal(total.numel()).view_as(total)) / sites).float()
        for name, total in sorted(mean.total.items())
    }


def epsilon_of_rounds(noise_multiplier: float, rounds: int, delta: float = DELTA) -> float:
    r"""Epsilon of a site after ``rounds`` rounds, exactly.

    T Gaussian mechanisms of noise z are one of noise :math:`z/\sqrt T` (Dong, Roth & Su 2022, arXiv 1905.02383,
    corollary 3.3), whose delta at epsilon is known in closed form (Balle & Wang 2018, arXiv 1805.06530, theorem 8).
    Neighbours: a site takes part, or sends zeros.

    Args:
        noise_multiplier: z; 0 gives infinity.
        rounds: T; 0 gives 0.
        delta: between 0 and 1.
    """
    if rounds == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    shift = math.sqrt(rounds) / noise_multiplier

    def missing(epsilon: float) -> float:
        first = float(ndtr(shift / 2 - epsilon / shift))
        second = math.exp(epsilon + float(log_ndtr(-shift / 2 - epsilon / shift)))
        return first - second - delta

    if missing(0.0) <= 0:
        return 0.0
    highest = 1.0
    while missing(highest) > 0:
        highest *= 2
    return float(brentq(missing, 0.0, highest, xtol=1e-12, rtol=1e-12))
