"""From the replies of a round to one update: whatever the method carries on is moved along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from common.control_variates import change, moved
from common.models.parameter_groups import learning_rate
from common.packing import Tensors
from server.admission import Admitted
from server.aggregation.agreement import agreement_coefficients
from server.aggregation.central import clipped, noisy_mean
from server.aggregation.mean import RunningMean, finish, fold
from server.aggregation.weights import ADAPTIVE, SiteWeights, site_weight
from server.checkpoint import Checkpoint
from server.federated_run import Federation
from server.history import RoundRecord
from server.waiting_updates import WaitingUpdates
from server.weighing import carried_weights


@dataclass(frozen=True)
class Combined:
    """The round's update, each site's share of it (sum 1), and the server's control variate after the round."""

    update: Tensors
    shares: dict[str, float]
    variate: Tensors


class Combination:
    """Takes the good replies of a round one by one. Memory does not grow with the number of sites.

    Every rule but one knows a site's weight when its reply arrives, and the update is folded into a running
    mean at once. ``gradient_agreement`` needs all updates beside each other: they wait on disk.
    """

    def __init__(
        self, federation: Federation, current: Checkpoint, earlier: Sequence[RoundRecord], number: int
    ) -> None:
        config = federation.config
        self._federation, self._method = federation, config.method
        self.weights: SiteWeights = carried_weights(
            config.method, config.sites, current.weights, earlier, config.federation.rounds
        )
        self.variate: Tensors = {}
        self._rates: dict[str, float] = {}
        if config.method.local_objective == "control_variates":
            rate = learning_rate(config.training, number, config.federation.rounds)
            self._rates = {name: rate * federation.relative_rates[name] for name in federation.trained}
            zero = {name: torch.zeros_like(current.model[name]) for name in federation.trained}
            self.variate = current.variate or zero
        self._mean, self._changes = RunningMean(), RunningMean()
        self._counts: dict[str, float] = {}
        self._waiting: WaitingUpdates | None = None
        if config.method.site_weights == "gradient_agreement":
            self._waiting = WaitingUpdates(federation.folder / "updates")

    def add(self, site: str, good: Admitted) -> float:
        """Take a good reply; returns the site's weight, before normalisation.

        Raises:
            StorageError: an update that has to wait cannot be written.
        """
        report = good.report
        if self._method.site_weights in ADAPTIVE:
            weight = self.weights[site]
        else:
            counted = report.patients if report.counted is None else report.counted
            weight = site_weight(self._method.site_weights, counted)
        self._counts[site] = weight
        largest = self._method.central_clip_norm
        self._mean = fold(self._mean, good.update if largest is None else clipped(good.update, largest), weight)
        if self.variate:
            moves = change(good.update, self.variate, report.steps, self._rates)
            self._changes = fold(self._changes, moves, weight)
        if self._waiting is not None:
            self._waiting.add(site, good.update)
        return weight

    def finish(self) -> Combined:
        """Combine what was taken, at least one reply."""
        update = self._released()
        total = sum(self._counts.values())
        sites = [site for site in self._federation.config.sites if site in self._counts]
        shares = {site: self._counts[site] / total for site in sites}
        if self._waiting is not None:
            names = self._federation.trained
            gram = self._waiting.gram(sites, names)
            factors = agreement_coefficients(gram, np.array(list(shares.values())), self._method.kappa)
            update |= self._waiting.combined(sites, names, factors)
            shares = dict(zip(sites, (factors / factors.sum()).tolist(), strict=True))
            self._waiting.clear()
        variate = self.variate
        if variate:
            share = len(sites) / len(self._federation.config.sites)
            variate = moved(variate, finish(self._changes), share)
        return Combined(update, shares, variate)

    def _released(self) -> Tensors:
        """What was folded in, as the method releases it."""
        method = self._method
        if method.central_clip_norm is None:
            return finish(self._mean)
        sites, noise = len(self._federation.config.sites), method.central_noise_multiplier
        return noisy_mean(self._mean, sites, method.central_clip_norm, noise, self._federation.normal)
