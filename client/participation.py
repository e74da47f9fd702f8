"""A site's part in a round of a method: what it puts in of its own, what it sends, what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from client import memory
from client.objectives import Guidance
from client.privacy.plan import Steps
from client.site import Site
from client.tasks.inquiry import Inquiry
from client.tasks.work import work_of
from client.training import Round, TrainingResult, train
from common.configuration import MethodConfig, TaskConfig
from common.control_variates import change
from common.data.dataset import SiteData
from common.models.network import Network, build_network
from common.models.parameter_groups import learning_rate, relative_rates
from common.packing import Tensors
from common.parameters import difference, local_names, rounded, trained_names
from common.protocol import EvaluateTask, PersonalFigures, TrainTask

OWN, VARIATE, PERSONAL = "own/", "variate/", "personal/"
"""Before the names of what is kept: the site's own layers, its control variate, its personal model."""


@dataclass(frozen=True)
class Contribution:
    """What a round of training gives: the update as it travels, and what the report says of it."""

    update: Tensors
    result: TrainingResult
    own_loss: float | None


def keeps_state(method: MethodConfig) -> bool:
    """Whether sites keep something from round to round under this method."""
    return method.shared_parameters != "all" or method.local_objective in ("control_variates", "ditto")


def contribute(
    site: Site,
    order: TrainTask,
    task: TaskConfig,
    model: Network,
    sent: tuple[Tensors, Tensors],
    training: SiteData,
    validation: SiteData,
    plan: Steps | None = None,
) -> Contribution:
    """Train ``model`` as the method asks, and keep what the method has the site keep.

    Args:
        site: whose state folder is used.
        order: what was asked.
        task: of the order.
        model: the common model; trained in place.
        sent: tensors of the common model, and the server's control variate if there is one.
        training: patients to learn from.
        validation: patients on whom the site's own model is measured, where its loss makes the sites' weights.
        plan: of a private round, which is in the site's books.

    Raises:
        SiteStateError: what the round goes on from is missing.
        StorageError: what is to be kept cannot be written.
        XaiFederationError: of training, by name.
    """
    method, part = task.method, Round(order.round, order.rounds, order.seed, site.name)
    before, variate = sent
    kept = memory.read(site, order.run, order.continues) if keeps_state(method) else {}
    local = local_names(model, method.shared_parameters)
    put_in(model, _of(kept, OWN))
    own_variate = {name: torch.zeros_like(value) for name, value in variate.items()} | _of(kept, VARIATE)
    correction = {name: value - own_variate[name] for name, value in variate.items()}
    guidance = Guidance(local=local, correction=correction)
    personal = _personal(task, model, _of(kept, PERSONAL), order.seed) if method.local_objective == "ditto" else None
    anchor = {name: value.detach().clone() for name, value in model.named_parameters()} if personal else None
    result = train(model, training, task, part, plan, guidance=guidance)
    state = model.state_dict()
    update = rounded(difference(state, before), order.wire_dtype)
    keep = {f"{OWN}{name}": state[name] for name in local}
    if method.local_objective == "control_variates":
        moved = change(update, variate, result.steps, rates_of(model, task, order.round, order.rounds))
        keep |= {f"{VARIATE}{name}": own_variate[name] + moved[name] for name in variate}
    if personal is not None:
        held = replace(task, method=replace(method, local_objective="proximal"))
        train(personal, training, held, part, guidance=Guidance(anchor=anchor, purpose="personal"))
        keep |= {f"{PERSONAL}{name}": value for name, value in personal.state_dict().items()}
    own_loss = None
    if method.site_weights == "generalisation_gap":
        own_loss = work_of(task).validate(model, validation, task, f"{site.name}: own model").loss
    if keeps_state(method):
        memory.write(site, order.run, order.round, keep, {order.continues, order.keeps})
    return Contribution(update, result, own_loss)


def rates_of(model: Network, task: TaskConfig, number: int, rounds: int) -> dict[str, float]:
    """Learning rate in this round of every parameter that has a control variate."""
    rate, common = learning_rate(task.training, number, rounds), trained_names(model, task.method.shared_parameters)
    return {name: rate * factor for name, factor in relative_rates(model, task.training).items() if name in common}


def put_in(model: Network, own: Mapping[str, torch.Tensor]) -> None:
    """Replace layers of the common model by the site's own."""
    state = model.state_dict()
    with torch.no_grad():
        for name, value in own.items():
            state[name].copy_(value)


def with_own_layers(site: Site, order: EvaluateTask, task: TaskConfig, model: Network) -> Network | None:
    """Put the site's own layers into ``model``; returns its personal model, if the method has one.

    Raises:
        SiteStateError: what the site kept is missing.
    """
    if not keeps_state(task.method):
        return None
    kept = memory.read(site, order.run, order.continues)
    put_in(model, _of(kept, OWN))
    personal = _of(kept, PERSONAL)
    return _personal(task, model, personal, order.seed) if personal else None


def personal_figures(
    personal: Network, data: SiteData, task: TaskConfig, inquiry: Inquiry, final: bool
) -> PersonalFigures:
    """The personal model's figures; at the end with intervals."""
    work = work_of(task)
    report = work.measure(personal, data, task, inquiry) if final else work.validate(personal, data, task, inquiry.name)
    if report.froc is None:
        return PersonalFigures(report.auc, report.loss)
    return PersonalFigures(report.auc, report.loss, report.froc.mean_per_lesion)


def _personal(task: TaskConfig, model: Network, kept: Tensors, seed: int) -> Network:
    """The personal model as it was kept; in the beginning it is the common one.

    Source: Li et al. 2021, "Ditto: Fair and Robust Federated Learning Through Personalization", arXiv 2012.04221,
    algorithm 1: the personal v is trained on the site's loss and lambda/2 * ||v - w||^2, w the common model of the
    round as it came; in as many epochs as the common one.
    """
    personal = build_network(task, seed)
    personal.load_state_dict(kept or model.state_dict())
    return personal


def _of(kept: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}
