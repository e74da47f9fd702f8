"""Orders in which training breasts are visited."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def plain_epoch(breasts: int, generator: np.random.Generator) -> Indices:
    """Every breast once, in random order."""
    return generator.permutation(breasts).astype(np.int64)


def lesion_epoch(with_lesion: npt.NDArray[np.int64], share: float, generator: np.random.Generator) -> Indices:
    """As many visits as there are breasts, ``share`` of them to breasts with a lesion, in random order.

    Either kind is gone through in random order again and again where it is too few, so that its breasts are visited
    equally often up to one; of a kind that is too many some are left out. With one kind only this is
    :func:`plain_epoch`.

    Args:
        with_lesion: 1 for breasts with a lesion, else 0.
        share: 0 to 1; at least one visit to either kind.
        generator: source of all randomness.
    """
    kinds = [np.flatnonzero(with_lesion == value) for value in (1, 0)]
    total = len(with_lesion)
    if not all(len(members) for members in kinds):
        return plain_epoch(total, generator)
    wanted = min(max(round(share * total), 1), total - 1)
    drawn = [
        np.concatenate([generator.permutation(members) for _ in range(-(-number // len(members)))])[:number]
        for members, number in zip(kinds, (wanted, total - wanted), strict=True)
    ]
    return generator.permutation(np.concatenate(drawn)).astype(np.int64)


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
