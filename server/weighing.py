"""Weights of a round that go by how the sites did in the round before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.configuration import MethodConfig
from server.aggregation.weights import ADAPTIVE, SiteWeights, generalisation_gap, worst_site
from server.history import RoundRecord

_MOST = 1e6
"""A larger loss counts as this: sums of losses stay numbers, whatever a site says."""


def carried_weights(
    method: MethodConfig,
    sites: Sequence[str],
    weights: Mapping[str, float],
    earlier: Sequence[RoundRecord],
    rounds: int,
) -> SiteWeights:
    """Weights by site of the round after ``earlier``; empty for rules that carry none.

    They are known before the round begins, because every site has measured the model that it starts from: the
    validation of the round before. The round's updates can so be folded in as they arrive.

    Args:
        method: names the rule and its step.
        sites: all of the run.
        weights: of the round before; empty in the first, in which all sites count the same.
        earlier: records of the rounds so far.
        rounds: of the run.
    """
    if method.site_weights not in ADAPTIVE:
        return {}
    present = dict(weights) or dict.fromkeys(sites, 1.0 / len(sites))
    if not earlier:
        return present
    last = earlier[-1]
    losses = {
        site: min(found.loss, _MOST)
        for site, found in last.validation.items()
        if found.loss is not None and site in present
    }
    if method.site_weights == "worst_site":
        return worst_site(present, losses, method.weight_step)
    own = {site: min(found.own_loss, _MOST) for site, found in last.train.items() if found.own_loss is not None}
    gaps = {site: losses[site] - own[site] for site in losses if site in own}
    return generalisation_gap(present, gaps, method.weight_step * (1.0 - last.round / rounds))
