"""What a comparison found: figures with intervals, paired differences, what it cost; as ``compare.json`` holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from common.configuration import TaskConfig
from common.metrics.bootstrap import percentile_interval
from common.metrics.paired import Answers, Folded, Resampled, Tested, holm, two_sided_p
from common.metrics.paired_froc import Found
from common.protocol import Estimate
from server.history import RoundRecord

Floats = npt.NDArray[np.float64]
MEASURES = ("mean", "worst", "unseen", "left_out")
"""Of which differences are tested."""
FORMAT = "xai-federation-comparison/1"
WORDS = {"auc": "AUC", "sensitivity": "sensitivity"}
"""What is compared: a classifier's AUC, or a detector's sensitivity per lesion at 1 false positive an image."""


def figure_of(task: TaskConfig) -> str:
    """Name of the figure, one of :data:`WORDS`."""
    return "sensitivity" if task.task == "detector" else "auc"


@dataclass(frozen=True)
class Reached:
    """The first round whose mean validation AUC was at least the target, and the bytes up to it, both ways."""

    round: int
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What one run took; ``seconds`` of its rounds."""

    seed: int
    fold: int
    folder: str
    rounds: int
    steps: int
    seconds: float
    bytes: int
    validation_auc: float | None
    """Mean over the sites after the last round."""
    reached: Reached | None


@dataclass(frozen=True)
class Way:
    """One way of training."""

    kind: str
    """``method``, ``personal`` (the sites' own models beside a method's common one) or ``baseline``."""
    by_site: dict[str, Estimate]
    """The figure by site tested on, mean over seeds; called by its name in ``compare.json``."""
    mean: Estimate
    worst: Estimate
    unseen: Estimate
    spread: Estimate
    left_out: Estimate
    """Mean over the training sites of the figure when that site was left out."""
    left_out_by_site: dict[str, Estimate] = field(default_factory=dict)
    against_local: dict[str, Estimate] = field(default_factory=dict)
    """By training site: difference from the site's own local model."""
    runs: list[Cost] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """A way less the reference, on the same patients and seeds."""

    way: str
    measure: str
    estimate: Estimate
    p: float
    p_holm: float
    marked: bool
    """Whether it holds after Holm's correction over all differences."""


@dataclass(frozen=True)
class SiteCounts:
    """Of one site: who it is, and what is compared on (of the first seed): breasts, or a detector's images."""

    role: str
    patients: int
    breasts: int | None
    malignant: int | None
    images: int | None = None
    """Whose lesions are known."""
    lesions: int | None = None


@dataclass(frozen=True)
class Comparison:
    """All of it."""

    format: str
    scenario: str
    description: str
    simulated: bool
    seeds: list[int]
    new_patients: bool
    """Whether each seed has patients of its own."""
    folds: int
    """Parts of a cross-validation; 1: there is none."""
    reference: str
    confidence: float
    samples: int
    rounds: int
    local_epochs: int
    target: float | None
    """Validation AUC that rounds and bytes are counted to."""
    target_is: str
    sites: dict[str, SiteCounts]
    ways: dict[str, Way]
    differences: list[Difference]
    figure: str = "auc"
    """One of :data:`WORDS`."""


def told(found: Comparison) -> dict[str, Any]:
    """What ``compare.json`` holds: figures by site stand under their own name."""
    content = asdict(found)
    for way in content["ways"].values():
        way[found.figure] = way.pop("by_site")
        way[f"left_out_{found.figure}"] = way.pop("left_out_by_site")
    return content


def enough_samples(wanted: int, ways: int, confidence: float) -> int:
    """So many resamples that Holm's correction can mark a difference: 2 / (samples + 1) is the smallest p there is.

    At least ``wanted``, and so many that the smallest p times the number of differences is half the allowed error.
    """
    return max(wanted, ceil(4 * len(MEASURES) * (ways - 1) / (1 - confidence)))


def estimate(value: float, samples: Floats, confidence: float) -> Estimate:
    """A value with the percentile interval of its resamples ``(samples,)``; undefined where a resample is."""
    if np.isnan(value):
        return Estimate(None)
    if np.isnan(samples).any():
        return Estimate(float(value))
    found = percentile_interval(float(value), samples, confidence)
    return Estimate(found.value, found.low, found.high)


@dataclass(frozen=True)
class Columns:
    """Which columns of a :class:`Resampled` are training sites, and which unseen ones."""

    sites: tuple[str, ...]
    train: tuple[str, ...]
    unseen: tuple[str, ...]

    def of(self, names: Sequence[str]) -> list[int]:
        """Places of sites."""
        return [self.sites.index(name) for name in names]


def measured(found: Resampled, columns: Columns, measure: str) -> tuple[float, Floats]:
    """A measure and its resamples: ``mean``, ``worst``, ``spread`` over training sites, or mean over ``unseen`` ones.

    The worst site is the one whose mean over the seeds is lowest; the spread is highest less lowest. Each resample
    has its own worst site.
    """
    places = columns.of(columns.unseen if measure == "unseen" else columns.train)
    if not places:
        return float("nan"), np.full(len(found.samples), np.nan)
    value, samples = found.value[places], found.samples[:, places]
    if measure == "worst":
        return float(value.min()), samples.min(axis=1)
    if measure == "spread":
        return float(np.ptp(value)), np.asarray(np.ptp(samples, axis=1))
    return float(value.mean()), samples.mean(axis=1)


@dataclass(frozen=True)
class Outcomes:
    """Resampled figures of all ways: on sites that took part or were never trained on, and on sites left out."""

    columns: Columns
    whole: Mapping[str, Resampled]
    left_out: Mapping[str, Resampled]

    def measured(self, way: str, measure: str) -> tuple[float, Floats]:
        """As :func:`measured`; also ``left_out``, where ``local`` was trained at the site itself. NaN where none is."""
        if measure != "left_out":
            return measured(self.whole[way], self.columns, measure)
        if way in self.left_out:
            return measured(self.left_out[way], self.columns, "mean")
        if way == "local" and self.left_out:
            return measured(self.whole[way], self.columns, "mean")
        return float("nan"), np.full(len(self.whole[way].samples), np.nan)


def way_of(name: str, kind: str, tested: Outcomes, confidence: float, runs: list[Cost]) -> Way:
    """Every figure of one way of training."""
    columns, whole = tested.columns, tested.whole[name]

    def by_site(found: Resampled, less: Resampled | None = None) -> dict[str, Estimate]:
        rows = {}
        for place, site in enumerate(columns.sites):
            value, samples = found.value[place], found.samples[:, place]
            if less is not None:
                value, samples = value - less.value[place], samples - less.samples[:, place]
            if not np.isnan(value):
                rows[site] = estimate(float(value), samples, confidence)
        return rows

    figures = {
        measure: estimate(*tested.measured(name, measure), confidence)
        for measure in ("mean", "worst", "unseen", "spread", "left_out")
    }
    local = tested.whole.get("local")
    return Way(
        kind,
        by_site(whole),
        **figures,
        left_out_by_site=by_site(tested.left_out[name]) if name in tested.left_out else {},
        against_local=by_site(whole, local) if local is not None and name != "local" else {},
        runs=runs,
    )


def differences_from(reference: str, tested: Outcomes, confidence: float) -> list[Difference]:
    """Every way less the reference in every measure that both have, with Holm's correction over all of them."""
    found: list[tuple[str, str, Estimate, float]] = []
    for measure in MEASURES:
        base, base_samples = tested.measured(reference, measure)
        for way in tested.whole:
            value, samples = tested.measured(way, measure)
            if way == reference or np.isnan(value - base):
                continue
            less = samples - base_samples
            p = two_sided_p(less)
            found.append((way, measure, estimate(value - base, less, confidence), 1.0 if np.isnan(p) else p))
    adjusted = holm([p for *_, p in found])
    return [
        Difference(way, measure, value, p, corrected, corrected <= 1 - confidence + 1e-12)
        for (way, measure, value, p), corrected in zip(found, adjusted, strict=True)
    ]


def validation_auc(record: RoundRecord) -> float | None:
    """Mean over the sites of a round's validation AUC."""
    values = [site.auc for site in record.validation.values() if site.auc is not None]
    return sum(values) / len(values) if values else None


def reached(records: Sequence[RoundRecord], target: float | None) -> Reached | None:
    """The first round at the target, and all bytes sent and received up to it."""
    total = 0
    for record in records:
        total += record.bytes_sent + record.bytes_received
        found = validation_auc(record)
        if target is not None and found is not None and found >= target:
            return Reached(record.round, total)
    return None


def cost_of(seed: int, fold: int, folder: str, records: Sequence[RoundRecord], target: float | None) -> Cost:
    """What a run took."""
    return Cost(
        seed=seed,
        fold=fold,
        folder=folder,
        rounds=len(records),
        steps=sum(site.steps for record in records for site in record.train.values()),
        seconds=sum(record.seconds for record in records),
        bytes=sum(record.bytes_sent + record.bytes_received for record in records),
        validation_auc=validation_auc(records[-1]) if records else None,
        reached=reached(records, target),
    )


def comparable(answers: Tested) -> bool:
    """Whether there is what the figure needs: breasts of both classes, or a lesion; in every fold."""
    if isinstance(answers, Folded):
        return all(comparable(part) for part in answers.parts)
    if isinstance(answers, Found):
        return bool(answers.lesions.any())
    assert isinstance(answers, Answers)
    return len(set(answers.targets.tolist())) == 2


def counts_of(role: str, answers: Tested) -> SiteCounts:
    """Size of a site's tested patients."""
    if isinstance(answers, Folded):
        return _added([counts_of(role, part) for part in answers.parts])
    if isinstance(answers, Found):
        images, lesions = int(answers.images.sum()), int(answers.lesions.sum())
        return SiteCounts(role, len(answers.patients), None, None, images, lesions)
    assert isinstance(answers, Answers)
    return SiteCounts(role, len(set(answers.patients.tolist())), len(answers.targets), int(answers.targets.sum()))


def _added(folds: Sequence[SiteCounts]) -> SiteCounts:
    def total(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return SiteCounts(
        folds[0].role,
        sum(fold.patients for fold in folds),
        total([fold.breasts for fold in folds]),
        total([fold.malignant for fold in folds]),
        total([fold.images for fold in folds]),
        total([fold.lesions for fold in folds]),
    )
