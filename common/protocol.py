"""The wire contract: one dataclass per message. Nothing else passes between coordinator and site.

No pixels, paths, identifiers, dates or per-patient scores: what a site reports are counts and
statistics over its patients. A message is one JSON text (checked field by field on arrival,
unknown fields refused) and at most one packed array (``common.packing``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import ConfigDict, TypeAdapter, ValidationError

from common.errors import WireError
from common.packing import Bytes

_STRICT = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


@dataclass(frozen=True)
class TrainTask:
    """Coordinator to site: train the model that comes along."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str
    """``TaskConfig`` as YAML."""
    round: int
    rounds: int
    seed: int
    wire_dtype: str


@dataclass(frozen=True)
class TrainReport:
    """Site to coordinator, with the update (model after minus model before)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    breasts: int
    malignant: int
    steps: int
    loss: float
    """Mean training loss over the local steps."""
    seconds: float


@dataclass(frozen=True)
class EvaluateTask:
    """Coordinator to site: measure the model that comes along."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str
    round: int
    seed: int
    split: str
    """``validation`` (every round), ``test`` (once, at the end) or ``all`` (a site that never trained)."""
    prior_log_odds: float = 0.0
    """Added to every logit: undoes class balancing in training (Saerens et al. 2002, Neural Comput. 14:21)."""
    final: bool = False
    """Also intervals, curves, explanations and the site's own gallery."""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval; ``None`` where it is not defined."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """Breasts whose predicted probability falls into one bin; small bins are not sent."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    predicted: float
    observed: float
    count: int


@dataclass(frozen=True)
class ExplanationScore:
    """How one explainer agrees with the doctors' boxes, over malignant views with known boxes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    pointing_game: Estimate
    energy_in_box: Estimate
    views: int
    gap: float | None = None
    """Of attributions (SHAP, expected gradients): by what share their sums miss the logits, on average."""


@dataclass(frozen=True)
class EvaluationReport:
    """Site to coordinator: how the model does on one split of the site's patients."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    breasts: int
    images: int
    malignant: int
    loss: float | None
    auc: Estimate
    sensitivity: Estimate = Estimate(None)
    """At the specificity of the task."""
    brier: Estimate = Estimate(None)
    calibration_error: float | None = None
    roc_specificity: list[float] = field(default_factory=list)
    roc_sensitivity: list[float] = field(default_factory=list)
    """ROC on a fixed grid of specificities: its corners are not single patients' scores."""
    calibration: list[CalibrationBin] = field(default_factory=list)
    explanations: dict[str, ExplanationScore] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class DescribeTask:
    """Coordinator to site: say what you hold."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str


@dataclass(frozen=True)
class SplitCounts:
    """Size of one split."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    breasts: int
    malignant: int


@dataclass(frozen=True)
class SiteDescription:
    """Site to coordinator: counts of what it holds."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    breasts: int
    images: int
    malignant: int
    benign: int
    normal: int
    views: dict[str, int]
    boxes: str
    """Whether the doctors' boxes are ``known``, ``unknown`` or known for ``some`` views."""
    skipped: int
    """Images left out because they cannot be read."""
    inverted: int
    """Images that were stored with dark lesions on white."""
    splits: dict[str, SplitCounts]
    version: str
    """Of the installed program."""
    code: str
    """SHA-256 over the installed program's source (``common.code``)."""


@dataclass(frozen=True)
class Refusal:
    """Site to coordinator: why there is no answer. The error's name and general meaning only;
    its details (files, lines) stay in the site's own log."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    error: str
    meaning: str


AnyMessage = TrainTask | TrainReport | EvaluateTask | EvaluationReport | DescribeTask | SiteDescription | Refusal
M = TypeVar("M", TrainTask, TrainReport, EvaluateTask, EvaluationReport, DescribeTask, SiteDescription, Refusal)
_RECORD, _ARRAYS, _PACKED = "message", "arrays", "packed"


def encode(message: AnyMessage, packed: Bytes | None = None) -> RecordDict:
    """Put a message, and a packed array if there is one, into Flower's record."""
    kind: type[AnyMessage] = type(message)
    body = TypeAdapter(kind).dump_json(message).decode()
    content = RecordDict({_RECORD: ConfigRecord({"kind": kind.__name__, "body": body})})
    if packed is not None:
        content[_ARRAYS] = ArrayRecord({_PACKED: Array(packed)})
    return content


def kind_of(content: RecordDict) -> str:
    """Name of the message's dataclass; empty when the record is not one of ours."""
    record = content.get(_RECORD)
    kind = record.get("kind") if isinstance(record, ConfigRecord) else None
    return kind if isinstance(kind, str) else ""


def decode(content: RecordDict, kind: type[M]) -> M:
    """Read a message of the expected kind.

    Raises:
        WireError: another kind, a missing, unknown or ill-typed field.
    """
    record = content.get(_RECORD)
    if kind_of(content) != kind.__name__ or not isinstance(record, ConfigRecord):
        raise WireError(f"expected a {kind.__name__}, got '{kind_of(content) or 'something else'}'")
    try:
        return TypeAdapter(kind).validate_json(str(record.get("body", "")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WireError(f"malformed {kind.__name__}: {place}: {first['msg']}") from error


def packed_array(content: RecordDict) -> Bytes:
    """The packed array of a message.

    Raises:
        WireError: there is none.
    """
    arrays = content.get(_ARRAYS)
    if not isinstance(arrays, ArrayRecord) or _PACKED not in arrays:
        raise WireError("the message carries no model or update")
    array: Bytes = np.asarray(arrays[_PACKED].numpy())
    return array
