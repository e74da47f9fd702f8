"""Checks on a reply before it may touch the model; a bad one is quarantined by name."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from flwr.app import RecordDict

from common.configuration.limits import CHOICES
from common.errors import WireError
from common.metrics.froc import GRID
from common.packing import Tensors, packed_size, unpack
from common.parameters import shared, squared_norm
from common.protocol import (
    COMPARED,
    CONTROLS,
    Estimate,
    EvaluationReport,
    ExplanationScore,
    FrocReport,
    PrivacySpent,
    Refusal,
    SiteDescription,
    TrainReport,
)
from common.wire import M, decode, kind_of, packed_array

MAXIMUM_PATIENTS = 10_000_000
"""More than any hospital has; a site's weight in the mean goes by what it says."""
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class SiteRefusedError(WireError):
    """The site declined and named its reason."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"the site refused with {refusal.error}: {refusal.meaning}")
        self.refusal = refusal


class UpdateNotFiniteError(WireError):
    """An update or its report holds NaN or infinity."""


class UpdateTooLargeError(WireError):
    """An update is larger than ``federation.maximum_update_norm``."""


class StaleReplyError(WireError):
    """A reply answers another round than the one that is being worked on."""


class ImpossibleFiguresError(WireError):
    """A report holds figures that cannot be true."""


@dataclass(frozen=True)
class Admitted:
    """A reply that passed: float32 update, its L2 norm, its size on the wire and the site's report."""

    update: Tensors
    norm: float
    bytes: int
    report: TrainReport


def answer(reply: RecordDict | WireError, kind: type[M]) -> M:
    """Read the answer of a site.

    Args:
        reply: what ``server.exchange`` yielded.
        kind: dataclass of the expected answer.

    Raises:
        SiteRefusedError: the site declined.
        WireError: the site's program failed, or the message is not of that kind or is malformed.
    """
    if isinstance(reply, WireError):
        raise reply
    if kind_of(reply) == Refusal.__name__:
        raise SiteRefusedError(decode(reply, Refusal))
    return decode(reply, kind)


def admit(
    reply: RecordDict | WireError,
    model: Mapping[str, torch.Tensor],
    wire_dtype: str,
    maximum_norm: float,
    number: int,
    unit: str = "none",
    minimum_steps: int = 0,
) -> Admitted:
    """Check a training reply against the model it answers.

    Args:
        reply: what the site answered.
        model: global tensors that were sent.
        wire_dtype: dtype the update must have (``bfloat16`` or ``float32``).
        maximum_norm: largest L2 norm of an acceptable update.
        number: round that was asked for.
        unit: of the privacy that was asked for (``privacy.unit``).
        minimum_steps: fewer steps of training cannot be: a control variate divides by their number.

    Raises:
        WireError: malformed message, digest, names, shapes, dtypes.
        MessageTooLargeError: more bytes than an update of this model takes; they were not unpacked.
        SiteRefusedError, StaleReplyError, ImpossibleFiguresError, UpdateNotFiniteError, UpdateTooLargeError: as named.
    """
    report = answer(reply, TrainReport)
    _require_round(report.round, number)
    if not (0 <= report.malignant <= report.breasts and 1 <= report.patients <= report.breasts):
        raise ImpossibleFiguresError(f"impossible counts: {report.patients} patients, {report.breasts} breasts")
    if report.counted is not None and not 1 <= report.counted <= report.patients:
        raise ImpossibleFiguresError(f"impossible counts: {report.counted} of {report.patients} patients count")
    if report.breasts > 2 * MAXIMUM_PATIENTS or report.steps < minimum_steps or not 0 <= report.seconds < math.inf:
        raise ImpossibleFiguresError("impossible counts or times")
    _require_privacy(report.privacy, unit, report.counted or report.patients)
    if not math.isfinite(report.loss):
        raise UpdateNotFiniteError(f"training loss is {report.loss}")
    if report.own_loss is not None and not 0 <= report.own_loss < math.inf:
        raise ImpossibleFiguresError(f"impossible loss of the site's own model: {report.own_loss}")
    expected, dtype = shared(model), _DTYPES[wire_dtype]
    assert isinstance(reply, RecordDict)  # else there had been no report
    packed = packed_array(reply, packed_size(expected, dtype.itemsize))
    update = unpack(packed)
    if update.keys() != expected.keys():
        odd = sorted(update.keys() ^ expected.keys())
        raise WireError(f"the update holds other tensors than the model: {', '.join(odd[:3])} ({len(odd)} differ)")
    for name, value in update.items():
        if value.shape != expected[name].shape:
            raise WireError(f"{name} has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
        if value.dtype != dtype:
            raise WireError(f"{name} is {value.dtype}, expected {dtype}")
        if not torch.isfinite(value).all():
            raise UpdateNotFiniteError(f"{name} holds values that are not finite")
    norm = math.sqrt(squared_norm(update))
    if norm > maximum_norm:
        raise UpdateTooLargeError(f"update norm {norm:.3g} is over the limit {maximum_norm:.3g}")
    return Admitted({name: value.float() for name, value in update.items()}, norm, packed.nbytes, report)


def described_by(reply: RecordDict | WireError, unit: str) -> SiteDescription:
    """Check the reply to the question what a site holds.

    Args:
        reply: what the site answered.
        unit: of the privacy that is asked for (``privacy.unit``).

    Raises:
        WireError: malformed message.
        SiteRefusedError, ImpossibleFiguresError: as named.
    """
    description = answer(reply, SiteDescription)
    if description.planned:
        _require_privacy(description.planned, unit, 1)
    return description


def _require_privacy(spent: PrivacySpent | None, unit: str, patients: int) -> None:
    """What was asked for must be there and possible, what was not must not; ``patients``: at least so many learnt."""
    if spent is None:
        if unit != "none":
            raise ImpossibleFiguresError(f"a {unit}'s privacy was asked for and nothing is said of it")
        return
    if spent.unit != unit or not 0 <= spent.epsilon < math.inf or not 0 < spent.delta < 1 / patients:
        raise ImpossibleFiguresError(
            f"impossible privacy of a {spent.unit[:20]}: epsilon {spent.epsilon}, delta {spent.delta}; asked: {unit}"
        )


def evaluated(reply: RecordDict | WireError, number: int) -> EvaluationReport:
    """Check the reply to an evaluation of round ``number``: a single site's word chooses among the rounds.

    Raises:
        WireError: malformed message.
        SiteRefusedError, StaleReplyError, ImpossibleFiguresError: as named.
    """
    report = answer(reply, EvaluationReport)
    _require_round(report.round, number)
    if not (0 <= report.malignant <= report.breasts and 0 <= report.patients <= report.breasts):
        raise ImpossibleFiguresError(f"impossible counts: {report.patients} patients, {report.breasts} breasts")
    if report.loss is not None and not 0 <= report.loss < math.inf:
        raise ImpossibleFiguresError(f"impossible loss: {report.loss}")
    shares = [("AUC", report.auc), ("sensitivity", report.sensitivity), ("Brier score", report.brier)]
    if report.froc is not None:
        shares += _froc_shares(report.froc)
    if report.personal is not None:
        if report.personal.loss is not None and not 0 <= report.personal.loss < math.inf:
            raise ImpossibleFiguresError(f"impossible loss of the personal model: {report.personal.loss}")
        shares += [("AUC", report.personal.auc), ("sensitivity", report.personal.mean_per_lesion)]
    shares += _explanation_shares(report.explanations)
    for name, item in shares:
        _require_between(0.0, 1.0, item, name)
    return report


def _froc_shares(froc: FrocReport) -> list[tuple[str, Estimate]]:
    """Every share of a FROC curve, which must stand on the fixed grid."""
    curves = (froc.per_lesion, froc.per_breast)
    if froc.false_positives != list(GRID) or any(len(curve) != len(GRID) for curve in curves):
        raise ImpossibleFiguresError("a FROC curve on another grid of false positives")
    if not (0 <= froc.breasts <= froc.lesions and froc.images >= 0):
        raise ImpossibleFiguresError(f"impossible counts: {froc.lesions} lesions in {froc.breasts} breasts")
    return [("FROC", item) for item in (*froc.per_lesion, *froc.per_breast, froc.mean_per_lesion, froc.mean_per_breast)]


def _explanation_shares(scores: dict[str, ExplanationScore]) -> list[tuple[str, Estimate]]:
    """Every share among the scores of explanations, which must be of methods that there are."""
    shares = []
    for method, score in scores.items():
        _require_methods([method, *score.agreement])
        _require_measures(score)
        if score.views < 0 or not (score.gap is None or 0 <= score.gap < math.inf):
            raise ImpossibleFiguresError(f"impossible score of {method}: {score.views} views, gap {score.gap}")
        for item in (score.randomised, *score.agreement.values()):
            _require_between(-1.0, 1.0, item, f"rank correlation of {method}")
        for measure, leads in score.ahead.items():
            largest = 2.0 if measure == "faithfulness" else 1.0  # the difference of two correlations, or of two shares
            for item in leads.values():
                _require_between(-largest, largest, item, f"lead of {method}")
        found = [score.pointing_game, score.energy_in_box]
        if score.quality is not None:
            quality = score.quality
            if not 0 <= quality.views <= score.views:
                raise ImpossibleFiguresError(f"impossible score of {method}: {quality.views} of {score.views} views")
            _require_between(-1.0, 1.0, quality.faithfulness, f"faithfulness of {method}")
            _require_between(0.0, sys.float_info.max, quality.sensitivity, f"sensitivity of {method}")
            found += [quality.iou, quality.dice, quality.deletion, quality.insertion]
        shares += [(f"score of {method}", item) for item in found]
    return shares


def _require_methods(names: Iterable[str]) -> None:
    if any(name not in (*CHOICES["evaluation.explainers"], *CONTROLS) for name in names):
        raise ImpossibleFiguresError("a score of an explainer that there is not")


def _require_measures(score: ExplanationScore) -> None:
    for measure, leads in score.ahead.items():
        if measure not in COMPARED or leads.keys() != set(CONTROLS):
            raise ImpossibleFiguresError("a comparison by a measure, or with controls, that there are not")


def _require_between(low: float, high: float, item: Estimate, what: str) -> None:
    """Of a value and its interval, where they are defined."""
    if any(value is not None and not low <= value <= high for value in (item.value, item.low, item.high)):
        raise ImpossibleFiguresError(f"impossible {what}: {item.value}")


def _require_round(said: int, number: int) -> None:
    if said != number:
        raise StaleReplyError(f"the reply is for round {said or 'none'}, round {number} was asked")
