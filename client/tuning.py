"""After the last round: the site trains its own layers on, for a personal model that never leaves it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from client import memory
from client.objectives import Guidance
from client.participation import PERSONAL
from client.site import Site
from client.tasks.work import work_of
from client.training import Round, train
from common import progress
from common.configuration import TaskConfig
from common.data.dataset import SiteData
from common.models.network import Network
from common.packing import Tensors
from common.parameters import local_names
from common.protocol import EvaluateTask

PURPOSE = "tuning"
"""Owner of the random numbers."""


def fine_tuned(site: Site, order: EvaluateTask, task: TaskConfig, model: Network, data: SiteData) -> Network | None:
    """The site's personal model: the common one with the site's own layers, and these trained on for some epochs.

    Of the model as it came and the model after each epoch the one with the lowest loss on the site's validation
    patients is taken, so it is never worse there than the common one. What is common stays as it is, statistics
    of batch norm too. The learning rate is that of a last round. The layers begin as the site kept them of the round,
    beside which the model is then kept: asked a second time the site gives the same bits.

    Args:
        site: whose state folder is used.
        order: of the final evaluation.
        task: of the order.
        model: with the site's own layers; left as it is.
        data: all of the site's patients.

    Returns:
        ``None`` where the method tunes nothing, the site has no layers of its own because it never trained, or has no
        validation patients to choose by.

    Raises:
        SiteStateError: what the site kept is missing.
        StorageError: the model cannot be kept.
        XaiFederationError: of training, by name.
    """
    epochs = task.method.personal_epochs
    if not epochs or not order.final or not order.continues:
        return None
    best, least = deepcopy(model), _loss(model, data, task, site)
    if least is None:
        progress.say(f"{site.name}: no personal model, there are no validation patients to choose it by")
        return None
    tuned, chosen, alone = deepcopy(model), 0, _plain(task)
    local = local_names(model, task.method.shared_parameters)
    trains = {name: value.requires_grad for name, value in tuned.named_parameters()}
    for name, value in tuned.named_parameters():
        value.requires_grad_(trains[name] and name in local)
    for epoch in range(1, epochs + 1):
        number = order.round + epoch
        part = Round(number, number, order.seed, site.name)
        train(tuned, data.of_split("train"), alone, part, guidance=Guidance(purpose=PURPOSE))
        loss = _loss(tuned, data, task, site)
        if loss is not None and loss < least:
            best, least, chosen = deepcopy(tuned), loss, epoch
    for name, value in best.named_parameters():
        value.requires_grad_(trains[name])
    progress.say(f"{site.name}: personal model of epoch {chosen} of {epochs}, validation loss {least:.4f}")
    kept: Tensors = memory.read(site, order.run, order.continues)
    kept = {name: value for name, value in kept.items() if not name.startswith(PERSONAL)}
    personal = {f"{PERSONAL}{name}": value for name, value in best.state_dict().items()}
    memory.amend(site, order.run, order.continues, kept | personal)
    return best


def _plain(task: TaskConfig) -> TaskConfig:
    """One epoch of plain training; batch norms that are common keep the statistics that all have."""
    own_statistics = task.method.shared_parameters == "norm_local"
    fixed = task.training.fix_statistics_after if own_statistics else 1
    return replace(
        task,
        training=replace(task.training, local_epochs=1, fix_statistics_after=fixed, warmup_rounds=0),
        method=replace(task.method, local_objective="plain"),
    )


def _loss(model: Network, data: SiteData, task: TaskConfig, site: Site) -> float | None:
    name = f"{site.name}: choosing the personal model"
    return work_of(task).validate(model, data.of_split("validation"), task, name).loss
