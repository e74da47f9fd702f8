"""Scores by which an attacker guesses who was trained on, and what privacy leaves of them. Pure functions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.metrics import roc_curve

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
LEAST = 2
"""Models with, and models without a patient, that a score of the second attack needs."""


def likelihood_ratio(confidence: Floats, member: Flags) -> Floats:
    r"""How much likelier a model's confidence in a patient is had it learnt from her: LiRA with few models.

    :math:`\log \mathcal N(\phi; \mu_\text{in}, \sigma_\text{in}) - \log \mathcal N(\phi; \mu_\text{out},
    \sigma_\text{out})` with means over the *other* models that learnt from the patient and that did not, and standard
    deviations common to all patients, as the paper advises for few models. NaN where fewer than two others did, or did
    not.

    Args:
        confidence: ``(models, patients)``, logit of the probability given to the truth.
        member: the same shape; whether the model learnt from the patient.

    Source: Carlini et al. 2022, "Membership Inference Attacks From First Principles", arXiv 2112.03570, algorithm 1
    and section VI.C.
    """
    scores = np.full(confidence.shape, np.nan)
    for model in range(len(confidence)):
        others = np.delete(confidence, model, axis=0)
        were = np.delete(member, model, axis=0)
        parts = []
        for flag in (True, False):
            chosen = np.where(were == flag, others, np.nan)
            number = (were == flag).sum(axis=0)
            enough = number >= LEAST
            mean = np.full(chosen.shape[1], np.nan)
            mean[enough] = np.nanmean(chosen[:, enough], axis=0)
            squares, freedom = np.nansum((chosen - mean)[:, enough] ** 2), (number[enough] - 1).sum()
            spread = math.sqrt(squares / freedom) if freedom and squares else math.nan
            parts.append(norm.logpdf(confidence[model], mean, spread))
        scores[model] = parts[0] - parts[1]
    return scores


def advantage(member: npt.NDArray[np.int64], scores: Floats) -> float:
    """Largest difference of true and false positive rate over all thresholds (Yeom et al. 2018, arXiv 1709.01604).

    Chance reaches a little more than 0: the threshold is chosen on the very guesses that are judged.
    """
    false, true, _ = roc_curve(member, scores)
    return float(np.max(true - false))


def largest_advantage(epsilon: float, delta: float) -> float:
    r"""What no attacker can exceed: :math:`(e^\varepsilon - 1 + 2\delta) / (e^\varepsilon + 1)`.

    Follows from Kairouz, Oh & Viswanath 2015, "The Composition Theorem for Differential Privacy", theorem 2.1 (true
    positive rate :math:`\le e^\varepsilon` false positive rate :math:`+ \delta`, and the same of the complements).
    """
    if math.isinf(epsilon):
        return 1.0
    return (math.expm1(epsilon) + 2 * delta) / (math.exp(epsilon) + 1)
