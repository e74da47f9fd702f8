"""The wire contract: one dataclass per message. Nothing else passes between coordinator and site.

No pixels, paths, identifiers, dates or per-patient scores: what a site reports are counts and
statistics over its patients. A message is one JSON text (checked field by field on arrival,
unknown fields refused) and at most one packed array (``common.packing``); ``common.wire`` writes
and reads both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

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
    run: str = ""
    """Identity of the run, 32 hexadecimal digits: a site keeps its state apart by it, its ledger tells runs by it."""
    continues: int = 0
    """Round of this run whose reply of the site was accepted last: its state goes on from there; 0: there is none."""
    keeps: int = 0
    """A second round whose state the site is to keep: its model may be published."""


@dataclass(frozen=True)
class PrivacySpent:
    """What a run has cost a site's patients, its last round with it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    epsilon: float
    delta: float
    unit: str
    """Whose data the guarantee is about: ``patient``."""


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
    round: int = 0
    """Of the task that it answers; a report that does not say so is refused."""
    counted: int | None = None
    """Patients that count for the site's weight, where these are not all: a detector's are those with a lesion."""
    privacy: PrivacySpent | None = None
    """Of a run with differential privacy."""
    own_loss: float | None = None
    """Of the site's model after training, on its validation patients; where ``generalisation_gap`` asks for it."""


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
    explain: bool = False
    """Also explanations; with ``final`` they come anyhow."""
    run: str = ""
    continues: int = 0
    """As in ``TrainTask``: whose state, and of which round, holds the site's own layers or its personal model."""


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


CONTROLS = ("intensity", "random")
"""Maps that know nothing of the model, scored beside every explainer."""
COMPARED = ("pointing_game", "energy_in_box", "iou", "dice", "deletion", "insertion", "faithfulness")
"""Measures by which explainers are compared with the controls; of ``deletion`` less is better."""


@dataclass(frozen=True)
class ExplanationQuality:
    """What ``evaluation.quality=full`` measures beside the rest, on some of the views (``common/metrics``)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    views: int
    iou: Estimate
    """Of the map's hot part, from half of its maximum, with the boxes."""
    dice: Estimate
    deletion: Estimate
    """Area under the model's probability while the hottest tissue is taken away first; low is good."""
    insertion: Estimate
    """The same while it comes back first; high is good."""
    faithfulness: Estimate
    """Correlation of what parts of the breast hold of the map with what the probability loses without them."""
    sensitivity: Estimate
    """Largest change of the map, as a share of it, when a little noise is added to the view."""


@dataclass(frozen=True)
class ExplanationScore:
    """How one explainer agrees with the doctors' boxes, over malignant views with known boxes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    pointing_game: Estimate
    energy_in_box: Estimate
    views: int
    gap: float | None = None
    """Of attributions (SHAP, expected gradients): by what share their sums miss the logits, on average."""
    randomised: Estimate = Estimate(None)
    """Rank correlation with the maps of a network that has forgotten everything; 1: the map never asked the network."""
    ahead: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """By measure (of ``COMPARED``) and control: the mean over the views of how much better than the control it is."""
    quality: ExplanationQuality | None = None
    agreement: dict[str, Estimate] = field(default_factory=dict)
    """Rank correlation with the maps of the same views by the methods that come after it."""


@dataclass(frozen=True)
class FrocReport:
    """How a detector finds the lesions of one split, over the images where they are known."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    images: int
    lesions: int
    breasts: int
    """With a lesion."""
    false_positives: list[float]
    """An image; a fixed grid, so that the curve's steps are not single detections' scores."""
    per_lesion: list[Estimate]
    """Share of the lesions found, at each rate of false positives."""
    per_breast: list[Estimate]
    """Share of the breasts with a lesion in which one was found in any view."""
    mean_per_lesion: Estimate
    """Over 1/4, 1/2, 1, 2 and 4 false positives an image."""
    mean_per_breast: Estimate


@dataclass(frozen=True)
class PersonalFigures:
    """A site's personal model on the patients on whom the common one is measured."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    auc: Estimate
    loss: float | None
    mean_per_lesion: Estimate = Estimate(None)
    """Of a detector, as in ``FrocReport``."""


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
    froc: FrocReport | None = None
    """Of a detector, where enough patients have a lesion."""
    seconds: float = 0.0
    round: int = 0
    """Of the task that it answers."""
    personal: PersonalFigures | None = None
    """Of the site's personal model, where it has one."""


@dataclass(frozen=True)
class DescribeTask:
    """Coordinator to site: say what you hold."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str
    rounds: int = 0
    """That the site is to train for; 0: it is only to be tested on."""
    run: str = ""
    """As in ``TrainTask``."""


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
    planned: PrivacySpent | None = None
    """What the whole run would cost the site's patients, where it is to be trained with differential privacy."""


@dataclass(frozen=True)
class ScaleTask:
    """Coordinator to site: what would your training images add to the scale that all are brought to?"""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str


@dataclass(frozen=True)
class ScaleReport:
    """Site to coordinator: its mean landmarks or amplitudes; nothing where too few patients stand behind them."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    images: int
    values: list[float]
    """Means over the site's training images (``common.imaging.harmonise.statistics``)."""


@dataclass(frozen=True)
class ShiftTask:
    """Coordinator to site: what do your images and patients look like? With a model: and what does it see in them?"""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    task: str
    features: bool = False
    """A classifier comes along."""


@dataclass(frozen=True)
class ShiftReport:
    """Site to coordinator: means and counts by which sites are compared; what too few stand behind is empty."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    patients: int
    breasts: int
    images: int
    malignant: int | None
    """Breasts."""
    stored: list[float]
    """Quantiles of the tissue's grey values as stored (share of full scale, dense bright), means over the images."""
    standardised: list[float]
    """The same, each image's median at 0 and half its 10-70 % range at 1: what gain and offset do not explain."""
    prepared: list[float]
    """The same of what the network sees."""
    spacing_mm: list[float]
    """Of the stored pixels: quantiles 10, 50 and 90 %."""
    input_spacing_mm: list[float]
    """Of the network's input: likewise."""
    views: dict[str, int]
    densities: dict[str, int]
    """BI-RADS A to D: breasts."""
    feature_mean: list[float]
    """Of the model's pooled features over validation patients."""
    feature_variance: list[float]
    feature_patients: int = 0


@dataclass(frozen=True)
class Refusal:
    """Site to coordinator: why there is no answer. The error's name and general meaning only;
    its details (files, lines) stay in the site's own log."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    error: str
    meaning: str


AnyMessage = (
    TrainTask
    | TrainReport
    | EvaluateTask
    | EvaluationReport
    | DescribeTask
    | SiteDescription
    | ScaleTask
    | ScaleReport
    | ShiftTask
    | ShiftReport
    | Refusal
)
