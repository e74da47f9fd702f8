"""Orders in which training breasts are visited."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def plain_epoch(breasts: int, generator: np.random.Generator) -> Indices:
    """Every breast once, in random order."""
    return generator.permutation(breasts).astype(np.int64)


def balanced_epoch(targets: npt.NDArray[np.int64], generator: np.random.Generator) -> Indices:
    """As many visits as there are breasts, both classes equally often, classes alternating.

    The larger class is drawn without replacement; the smaller is gone through in random order again
    and again, so that its breasts are visited equally often up to one. With one class only this is
    :func:`plain_epoch`.
    """
    classes = [np.flatnonzero(targets == value) for value in (0, 1)]
    if not all(len(members) for members in classes):
        return plain_epoch(len(targets), generator)
    half = (len(targets) + 1) // 2
    drawn = []
    for members in classes:
        passes = -(-half // len(members))
        drawn.append(np.concatenate([generator.permutation(members) for _ in range(passes)])[:half])
    return np.stack(drawn, axis=1).reshape(-1)[: len(targets)].astype(np.int64)
