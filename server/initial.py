"""The model that a run begins with. A file of its own, for ``xai-server train`` needs nothing else of a run."""

from __future__ import annotations

from common import progress
from common.configuration import RunConfig
from common.models.network import Network, build_network
from common.models.normalisation import require_separate
from common.models.weights import load_initial_weights


def initial_model(config: RunConfig) -> Network:
    """The model of round 0: from the run's seed, then transferred weights where the configuration names some.

    Raises:
        WeightsFileError: the weights are missing or do not fit.
        MixedPatientsError: training is to be private, and the network cannot be trained so.
    """
    model = build_network(config, seed=config.seed)
    if config.privacy.unit == "patient":
        require_separate(model.train())
    if config.model.initial_weights:
        report = load_initial_weights(model, config.model.initial_weights)
        progress.say(f"initial weights: {len(report.loaded)} tensors taken over, {len(report.unfit)} did not fit")
    return model
