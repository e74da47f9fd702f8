"""The views that attributions are measured against: a sample of the site's own training patients."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from client.randomness import generators
from common.data.dataset import SiteData

Place = tuple[int, int]
"""A view: its breast's place in the site's data, its own in the breast."""


def choose_background(data: SiteData, size: int, seed: int) -> torch.Tensor:
    """Choose views so that labels and projections are as frequent among them as among all.

    The same data, size and seed give the same views. They never leave the site.

    Args:
        data: the site's training patients.
        size: of the background; all views if there are fewer.
        seed: of the run.

    Returns:
        ``(K, 1, H, W)``, as the network takes them; K is 0 without training patients.
    """
    strata: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for index, breast in enumerate(data.breasts):
        for number, view in enumerate(breast.views):
            strata[breast.label, view.view].append((index, number))
    random = generators(seed, data.site, 0, "background").numpy
    ordered = [(strata[key], random.permutation(len(strata[key]))) for key in sorted(strata)]
    shares = _shares([len(places) for places, _ in ordered], size)
    chosen = [places[at] for (places, order), share in zip(ordered, shares, strict=True) for at in order[:share]]
    pixels = [np.asarray(data.views[index][number].pixels, dtype=np.float32) for index, number in chosen]
    return torch.from_numpy(np.stack(pixels))[:, None] if pixels else torch.empty(0, 1, 1, 1)


def _shares(sizes: list[int], wanted: int) -> list[int]:
    """How many of each stratum: in proportion to their sizes, what is left to the largest remainders."""
    total = sum(sizes)
    wanted = min(wanted, total)
    exact = [wanted * size / total for size in sizes]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda at: shares[at] - exact[at])
    for at in by_remainder[: wanted - sum(shares)]:
        shares[at] += 1
    return shares
