"""Discrimination of two classes: AUC with DeLong's interval, sensitivity at a specificity, ROC.

Each refuses with ``ValueError`` what :func:`common.metrics.inputs.require_scores` refuses.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, rankdata
from sklearn.metrics import roc_auc_score, roc_curve

from common.metrics.inputs import require_scores
from common.metrics.interval import UNDEFINED, Interval

Targets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def auc(targets: Targets, scores: Floats) -> float:
    """Area under the ROC curve; NaN when only one class (or nothing) is given.

    Args:
        targets: ``(N,)``, 0 or 1.
        scores: ``(N,)``, larger means rather class 1.
    """
    require_scores(targets, scores)
    if not _both_classes(targets):
        return math.nan
    return float(roc_auc_score(targets, scores))


def delong_interval(targets: Targets, scores: Floats, confidence: float = 0.95) -> Interval:
    """AUC with DeLong's normal interval, cut at 0 and 1; all NaN when only one class is given.

    DeLong's variance cannot be used when it is zero (perfect separation, or all scores equal) or
    when a class has one member. Then the bounds are Clopper & Pearson's for k trials, k being the
    size of the smaller class: so many pairs of one member of each class share no member, are thus
    independent and rightly ordered with probability AUC. At AUC 1 the lower bound is
    (alpha/2)^(1/k), the interval never has zero width, and it is on the cautious side.

    Args:
        targets: ``(N,)``, 0 or 1.
        scores: ``(N,)``, larger means rather class 1.
        confidence: of the two-sided interval, 0 to 1.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837, equations 4 to 6; mid-ranks
    after Sun & Xu 2014, IEEE Signal Processing Letters 21:1389.
    """
    require_scores(targets, scores)
    if not _both_classes(targets):
        return UNDEFINED
    positives, negatives = scores[targets == 1], scores[targets == 0]
    m, n = len(positives), len(negatives)
    together = rankdata(np.concatenate([positives, negatives]))
    # Placement of each positive among the negatives, and 1 - placement of each negative among the positives.
    v10 = (together[:m] - rankdata(positives)) / n
    v01 = 1.0 - (together[m:] - rankdata(negatives)) / m
    value = float(v10.mean())
    if min(m, n) > 1:
        variance = float(v10.var(ddof=1) / m + v01.var(ddof=1) / n)
        # One placement differing by half a rank gives 1 / (2 m n)^2; less is rounding.
        if variance > 1e-3 / (m * n) ** 2:
            half = float(norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
            return Interval(value, max(0.0, value - half), min(1.0, value + half))
    return _clopper_pearson(value, min(m, n), confidence)


def sensitivity_at_specificity(targets: Targets, scores: Floats, specificity: float) -> float:
    """Largest sensitivity of any threshold whose specificity is at least the one asked for.

    No interpolation between thresholds; NaN when only one class is given.

    Args:
        targets: ``(N,)``, 0 or 1.
        scores: ``(N,)``, larger means rather class 1.
        specificity: 0 to 1.
    """
    require_scores(targets, scores)
    if not _both_classes(targets):
        return math.nan
    positives, negatives = scores[targets == 1], np.sort(scores[targets == 0])[::-1]
    # The small term lets 10 % of 10 be one, which in floating point it is not quite.
    allowed = math.floor((1.0 - specificity) * len(negatives) + 1e-9)
    if allowed >= len(negatives):
        return 1.0
    return float(np.mean(positives > negatives[allowed]))


def roc_points(targets: Targets, scores: Floats) -> tuple[Floats, Floats]:
    """Corners of the ROC curve: false positive rates and true positive rates, both rising from 0 to 1.

    Args:
        targets: ``(N,)``, 0 or 1, both present.
        scores: ``(N,)``, larger means rather class 1.
    """
    require_scores(targets, scores)
    false_positive, true_positive, _ = roc_curve(targets, scores)
    return np.asarray(false_positive, dtype=np.float64), np.asarray(true_positive, dtype=np.float64)


def _both_classes(targets: Targets) -> bool:
    return len(targets) > 0 and int(targets.min()) != int(targets.max())


def _clopper_pearson(value: float, trials: int, confidence: float) -> Interval:
    """Exact binomial bounds of a share (Clopper & Pearson 1934), for shares of ties too."""
    successes, tail = value * trials, (1.0 - confidence) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if value > 0.0 else 0.0
    high = float(beta.ppf(1.0 - tail, successes + 1, trials - successes)) if value < 1.0 else 1.0
    return Interval(value, low, high)
