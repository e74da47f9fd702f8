"""The update that every site's update agrees with as well as can be, near the mean update."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
_TINY = 1e-6
"""A mixture shorter than this, as a share of the updates' root mean square norm, has vanished."""


def agreement_coefficients(gram: Floats, shares: Floats, kappa: float) -> Floats:
    r"""Factors :math:`a_k` of the updates, ``(K,)``: the agreed update is :math:`\sum_k a_k \Delta_k`.

    With the mean update :math:`g_0 = \sum_k p_k \Delta_k` and :math:`g_\Gamma = \sum_k \Gamma_k \Delta_k`, the dual

    .. math:: \Gamma^* = \arg\min_{\Gamma \in \Delta_K} \langle g_\Gamma, g_0 \rangle + \kappa \lVert g_0 \rVert
              \lVert g_\Gamma \rVert

    gives :math:`g = g_0 + \kappa \lVert g_0 \rVert\, g_{\Gamma^*} / \lVert g_{\Gamma^*} \rVert`: of all updates within
    :math:`\kappa \lVert g_0 \rVert` of the mean the one whose smallest inner product with a site's update is largest.
    Only inner products are needed, so the problem has K unknowns however large the network is.

    Source: Liu et al. 2021, "Conflict-Averse Gradient Descent" (CAGrad), arXiv 2110.14048; for updates of a federation
    Nguyen et al. 2025 (FedOMG), arXiv 2501.14653. Dual and direction were checked against the authors' code:
    Cranial-XIX/CAGrad, ``mtrl/mtrl_files/cagrad.py``; skydvn/FedOMG, ``FedOMG-DG/algorithms/FedOMG/utils/fed_merge.py``
    and ``system/flcore/servers/server_OMG.py``. Differences: :math:`p_k` by patients, where CAGrad has 1/K, and FedOMG
    1/K of updates that are multiplied by the sites' weights beforehand, or K times the result; it is divided by
    :math:`1 + \kappa` (as in CAGrad's ``cagrad_fast``; ``cagrad`` and FedOMG divide by :math:`1 + \kappa^2`), so that
    one site alone, or equal updates, give the mean update itself; the problem is solved to the end (SLSQP, as in
    CAGrad's ``cagrad_exact``) and not by 20 steps of SGD on a softmax.

    Where some mixture of the updates vanishes (they oppose each other entirely) there is nothing to
    agree on, and the mean update is returned, divided likewise.

    Args:
        gram: inner products of the updates, ``(K, K)``.
        shares: p, positive, with the sum 1, ``(K,)``.
        kappa: 0 to 1; 0 gives the mean.
    """
    scale = float(np.trace(gram)) / len(gram)
    if scale <= 0.0 or kappa == 0.0:
        return shares.copy()
    gram = gram / scale  # so that the size of the updates does not matter to the solver
    towards, length = gram @ shares, _length(gram, shares)

    def objective(mix: Floats) -> tuple[float, Floats]:
        size = math.hypot(_length(gram, mix), _TINY)
        return float(mix @ towards + kappa * length * size), towards + kappa * length * (gram @ mix) / size

    found = minimize(
        objective,
        np.full(len(shares), 1.0 / len(shares)),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(shares),
        constraints={"type": "eq", "fun": lambda mix: mix.sum() - 1.0, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    mix = np.clip(np.asarray(found.x, dtype=np.float64), 0.0, None)
    mix = mix / mix.sum()
    size = _length(gram, mix)
    if size < _TINY:
        return shares / (1.0 + kappa)
    return np.asarray((shares + kappa * length / size * mix) / (1.0 + kappa), dtype=np.float64)


def _length(gram: Floats, mix: Floats) -> float:
    """Norm of a mixture of the updates."""
    return math.sqrt(max(float(mix @ gram @ mix), 0.0))
