"""The site's Flower ClientApp: the three questions a coordinator may ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.compute import is_out_of_memory
from client.description import describe
from client.privacy import spending
from client.privacy.spending import Asked, is_private
from client.privacy.training import require_private
from client.site import Site, load_site, site_of
from client.tasks.inquiry import Inquiry
from client.tasks.work import work_of
from client.training import Round, train
from client.withholding import loss_rounded, withheld
from common.configuration import TaskConfig, task_from_yaml
from common.data.dataset import SiteData
from common.errors import EmptySiteError, MemoryLimitError, WireError, XaiFederationError
from common.models.network import Network, build_network
from common.packing import Tensors, pack, packed_size, unpack
from common.parameters import difference, rounded
from common.protocol import (
    DescribeTask,
    EvaluateTask,
    Refusal,
    TrainReport,
    TrainTask,
    decode,
    encode,
    packed_array,
)

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


def _model(task: TaskConfig, content: RecordDict) -> tuple[Network, Tensors]:
    model = build_network(task, seed=0)
    tensors = unpack(packed_array(content, packed_size(model.state_dict())))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WireError("the model that came does not fit the task's architecture") from error
    return model, tensors


def _split(data: SiteData, split: str) -> SiteData:
    part = data if split == "all" else data.of_split(split)
    if not part.breasts:
        raise EmptySiteError(f"site {data.site} has no {split} patients", where=data.site, do="change data.*_fraction")
    return part


def _train(site: Site, content: RecordDict) -> RecordDict:
    order = decode(content, TrainTask)
    task = task_from_yaml(order.task)
    data = _split(load_site(site, task), "train")
    model, before = _model(task, content)
    spent = steps = None
    if is_private(task):
        require_private(model.train(), task)  # before anything is paid for
        asked = Asked(order.run, order.round, order.rounds)
        planned = spending.plan(site.state, spending.learners(data, task), task, asked)
        spent, steps = spending.begin(site.state, task, asked, planned), planned.steps
    result = train(model, data, task, Round(order.round, order.rounds, order.seed, site.name), plan=steps)
    update = rounded(difference(model.state_dict(), before), order.wire_dtype)
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
    )
    return encode(loss_rounded(report, site.withholding), pack(update))


def _evaluate(site: Site, content: RecordDict) -> RecordDict:
    begun = time.monotonic()
    order = decode(content, EvaluateTask)
    task = task_from_yaml(order.task)
    everything = load_site(site, task)
    data = _split(everything, order.split) if order.final else everything.of_split(order.split)
    model, _ = _model(task, content)
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
    report = withheld(report, site.withholding)
    return encode(replace(report, seconds=time.monotonic() - begun, round=order.round))


def _describe(site: Site, content: RecordDict) -> RecordDict:
    order = decode(content, DescribeTask)
    task = task_from_yaml(order.task)
    data = load_site(site, task)
    description = describe(data)
    if order.rounds and is_private(task):
        learners = spending.learners(data.of_split("train"), task)
        planned = spending.plan(site.state, learners, task, Asked(order.run, 0, order.rounds))
        description = replace(description, planned=planned.whole_run)
    return encode(description)
