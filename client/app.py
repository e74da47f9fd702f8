"""The site's Flower ClientApp: the questions a coordinator may ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.appearance import scale_of
from client.compute import is_out_of_memory
from client.description import describe
from client.evaluation import MINIMUM_CELL
from client.participation import contribute, personal_figures, with_own_layers
from client.privacy import spending
from client.privacy.spending import Asked, is_private
from client.privacy.training import require_private
from client.shift import shift_of
from client.site import Site, load_site, site_of
from client.tasks.inquiry import Inquiry
from client.tasks.work import work_of
from client.tuning import fine_tuned
from client.withholding import loss_rounded, withheld
from common.configuration import TaskConfig, task_from_yaml
from common.control_variates import beside, parted
from common.data.dataset import SiteData
from common.data.scale import as_stored, awaits_scale, unscaled
from common.errors import EmptySiteError, MemoryLimitError, WireError, XaiFederationError
from common.imaging.harmonise import SCALED
from common.models.classifier import BreastClassifier
from common.models.network import Network, build_network
from common.packing import Tensors, pack, packed_size, unpack
from common.parameters import trained_names
from common.protocol import DescribeTask, EvaluateTask, Refusal, ScaleTask, ShiftTask, TrainReport, TrainTask
from common.wire import decode, encode, packed_array

logger = logging.getLogger("xai_federation.client")

app = ClientApp()


def _answer(message: Message, context: Context, work: Callable[[Site, RecordDict], RecordDict]) -> Message:
    """Do the work; a named error becomes a refusal whose details stay in this site's log."""
    try:
        content = work(site_of(context), message.content)
    except XaiFederationError as error:
        logger.error("%s refused: %s: %s", message.metadata.message_type, type(error).__name__, error)
        content = refusal_of(error)
    except Exception as error:  # a node survives every request
        logger.exception("%s failed", message.metadata.message_type)
        content = refusal_of(error)
    return Message(content, reply_to=message)


def refusal_of(error: Exception) -> RecordDict:
    """What leaves the site of an error: a name and its general meaning, never its text."""
    kind = MemoryLimitError if is_out_of_memory(error) else type(error)
    if not issubclass(kind, XaiFederationError):
        return encode(Refusal("InternalError", "The site's program failed; its own log says why."))
    return encode(Refusal(kind.__name__, (kind.__doc__ or "").split("\n")[0]))


@app.train()
def train_action(message: Message, context: Context) -> Message:
    """Train the model that came along and answer with the update."""
    return _answer(message, context, _train)


@app.evaluate()
def evaluate_action(message: Message, context: Context) -> Message:
    """Measure the model that came along on the site's own patients."""
    return _answer(message, context, _evaluate)


@app.query("describe")
def describe_action(message: Message, context: Context) -> Message:
    """Answer with counts of what the site holds."""
    return _answer(message, context, _describe)


@app.query("scale")
def scale_action(message: Message, context: Context) -> Message:
    """Answer with the site's part of the scale that all images of a run are brought to."""
    return _answer(message, context, _scale)


@app.query("shift")
def shift_action(message: Message, context: Context) -> Message:
    """Answer with what tells the site's images and patients from those of others."""
    return _answer(message, context, _shift)


def _model(task: TaskConfig, content: RecordDict, with_variate: bool = False) -> tuple[Network, Tensors, Tensors]:
    """The network, its tensors as they came, and the server's control variate where one must come along."""
    model = build_network(task, seed=0)
    state = model.state_dict()
    names = trained_names(model, task.method.shared_parameters) if with_variate else frozenset()
    expected = {name: state[name] for name in names}
    tensors, variate = parted(unpack(packed_array(content, packed_size(beside(state, expected)))))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WireError("the model that came does not fit the task's architecture") from error
    if {name: value.shape for name, value in variate.items()} != {
        name: value.shape for name, value in expected.items()
    }:
        raise WireError("the control variate that came does not fit the task's architecture")
    return model, tensors, variate


def _split(data: SiteData, split: str) -> SiteData:
    part = data if split == "all" else data.of_split(split)
    if not part.breasts:
        raise EmptySiteError(f"site {data.site} has no {split} patients", where=data.site, do="change data.*_fraction")
    return part


def _train(site: Site, content: RecordDict) -> RecordDict:
    order = decode(content, TrainTask)
    task = task_from_yaml(order.task)
    everything = load_site(site, task)
    data = _split(everything, "train")
    model, before, variate = _model(task, content, task.method.local_objective == "control_variates")
    spent = steps = None
    if is_private(task):
        require_private(model.train(), task)  # before anything is paid for
        asked = Asked(order.run, order.round, order.rounds)
        planned = spending.plan(site.state, spending.learners(data, task), task, asked)
        spent, steps = spending.begin(site.state, task, asked, planned), planned.steps
    sent = (before, variate)
    done = contribute(site, order, task, model, sent, data, everything.of_split("validation"), steps)
    result = done.result
    report = TrainReport(
        patients=data.patients,
        breasts=len(data.breasts),
        malignant=int(data.targets.sum()),
        steps=result.steps,
        loss=result.loss,
        seconds=result.seconds,
        round=order.round,
        counted=result.counted,
        privacy=spent,
        own_loss=done.own_loss,
    )
    return encode(loss_rounded(report, site.withholding), pack(done.update))


def _evaluate(site: Site, content: RecordDict) -> RecordDict:
    begun = time.monotonic()
    order = decode(content, EvaluateTask)
    task = task_from_yaml(order.task)
    everything = load_site(site, task)
    data = _split(everything, order.split) if order.final else everything.of_split(order.split)
    model, *_ = _model(task, content)
    personal = with_own_layers(site, order, task, model)
    if task.method.personal_epochs:
        personal = fine_tuned(site, order, task, model, everything)
    name = f"{site.name}: {order.split} patients"
    if order.final:
        inquiry = Inquiry(name, order.seed, order.prior_log_odds)
        report = work_of(task).examine(model, data, task, inquiry, site, everything.of_split("train"))
    else:
        report = work_of(task).validate(model, data, task, name)
        if order.explain:
            training = everything.of_split("train")
            scores = work_of(task).explained(model, data, task, Inquiry(name, order.seed), training)
            report = replace(report, explanations=scores)
    if personal is not None:
        inquiry = Inquiry(f"{name}, personal model", order.seed, order.prior_log_odds)
        report = replace(report, personal=personal_figures(personal, data, task, inquiry, order.final))
    report = withheld(report, site.withholding)
    return encode(replace(report, seconds=time.monotonic() - begun, round=order.round))


def _describe(site: Site, content: RecordDict) -> RecordDict:
    order = decode(content, DescribeTask)
    task = unscaled(task_from_yaml(order.task))
    data = load_site(site, task)
    description = describe(data)
    if order.rounds and is_private(task):
        learners = spending.learners(data.of_split("train"), task)
        planned = spending.plan(site.state, learners, task, Asked(order.run, 0, order.rounds))
        description = replace(description, planned=planned.whole_run)
    return encode(description)


def _scale(site: Site, content: RecordDict) -> RecordDict:
    task = task_from_yaml(decode(content, ScaleTask).task)
    if task.imaging.harmonisation not in SCALED:
        raise WireError(f"images of '{task.imaging.harmonisation}' are brought to no scale")
    stored = load_site(site, as_stored(task)).of_split("train")
    return encode(scale_of(stored, task.imaging.harmonisation, _cell(site)))


def _shift(site: Site, content: RecordDict) -> RecordDict:
    order = decode(content, ShiftTask)
    task = task_from_yaml(order.task)
    stored = load_site(site, as_stored(task))
    prepared = None if awaits_scale(task.imaging) else load_site(site, task)
    model = _model(task, content)[0] if order.features else None
    if model is not None and not isinstance(model, BreastClassifier):
        raise WireError("features are taken from classifiers only")
    return encode(shift_of(stored, prepared, task, _cell(site), model))


def _cell(site: Site) -> int:
    """Fewest patients or breasts behind a statistic: the program's own least, or that of the site's policy."""
    return max(MINIMUM_CELL, site.withholding.minimum_cell or 0)
