"""The tables of explanations: which measures there are, which methods have figures, and who beats both controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from common.protocol import COMPARED, CONTROLS, Estimate, EvaluationReport, ExplanationScore
from server.report.findings import EXPLAINER_NAMES, label
from server.report.numbers import defined
from server.report.run_folder import Run


@dataclass(frozen=True)
class Measure:
    """One table: a row a method, a column a site."""

    key: str
    title: str
    meaning: str
    quality: bool = False
    """Only in runs with ``evaluation.quality=full``."""


MEASURES = (
    Measure("pointing_game", "Pointing game", "How often the brightest point of the map lies inside the lesion's box"),
    Measure("energy_in_box", "Energy in the box", "The share of the whole map that lies inside the lesion's box"),
    Measure(
        "randomised",
        "Does the map ask the model?",
        "Rank correlation with the map of a network that has forgotten everything: near 1, the map would be the same "
        "had the network learnt nothing",
    ),
    Measure(
        "iou",
        "Overlap with the box (IoU)",
        "Shared area of the box and the map's hot part (from half of its maximum), over the area of both together",
        quality=True,
    ),
    Measure(
        "dice",
        "Overlap with the box (Dice)",
        "Twice the shared area of the box and the map's hot part, over the sum of both areas",
        quality=True,
    ),
    Measure(
        "deletion",
        "Deletion",
        "Area under the model's probability while the map's hottest tissue is smoothed away first; low is good",
        quality=True,
    ),
    Measure(
        "insertion",
        "Insertion",
        "Area under the model's probability while the hottest tissue comes back first; high is good",
        quality=True,
    ),
    Measure(
        "faithfulness",
        "Faithfulness correlation",
        "Do parts of the breast matter to the model as much as the map says: correlation, -1 to 1; high is good",
        quality=True,
    ),
    Measure(
        "sensitivity",
        "Sensitivity to noise",
        "Largest change of the map, as a share of the map, when faint noise is added to the view; low is steady",
        quality=True,
    ),
)


def measures(run: Run) -> list[Measure]:
    """Those of which any site has sent figures."""
    scores = [score for report in _reports(run).values() for score in report.explanations.values()]
    full = any(score.quality is not None for score in scores)
    return [measure for measure in MEASURES if full or not measure.quality]


def explainers(run: Run) -> list[str]:
    """Methods that were asked for, if any was scored anywhere; controls last."""
    scored: dict[str, ExplanationScore] = {}
    for report in _reports(run).values():
        scored |= report.explanations
    if not scored:
        return []
    methods = dict.fromkeys([*run.config.evaluation.explainers, *scored])
    return [name for name in methods if name not in CONTROLS] + [name for name in CONTROLS if name in scored]


def figure(score: ExplanationScore, measure: Measure) -> Estimate:
    """What a table shows; not defined where the site did not send it."""
    if measure.quality:
        return getattr(score.quality, measure.key) if score.quality is not None else Estimate(None)
    found: Estimate = getattr(score, measure.key)
    return found


def views(report: EvaluationReport | None, measure: Measure) -> int | None:
    """How many views the figures of one site are means over."""
    if report is None or not report.explanations:
        return None
    scores = report.explanations.values()
    if measure.quality:
        return max((score.quality.views for score in scores if score.quality is not None), default=None)
    return max(score.views for score in scores)


def against_controls(scores: dict[str, ExplanationScore], method: str, measure: str) -> str:
    """How an explainer stands against the controls on one site, for one measure.

    By the paired differences that the site has sent; reports of older sites have none, and are judged by whether the
    intervals overlap.

    Args:
        scores: a site's explanation scores by method.
        method: which of them; a control gives an empty answer, and so does what a control cannot lose.
        measure: key of a :class:`Measure`.
    """
    if method in CONTROLS or measure not in COMPARED:
        return ""
    leads = scores[method].ahead.get(measure, {})
    if leads:
        return "beats both controls" if _beats(leads) else "does not beat both controls"
    if measure not in ("pointing_game", "energy_in_box"):
        return ""
    controls: list[Estimate] = [getattr(scores[name], measure) for name in CONTROLS if name in scores]
    own: Estimate = getattr(scores[method], measure)
    if len(controls) < len(CONTROLS) or not defined(own.value):
        return ""
    if not all(defined(control.value) and own.value > control.value for control in controls):
        return "not above both controls"
    apart = all(own.low is not None and control.high is not None and own.low > control.high for control in controls)
    return "above both controls" if apart else "above both, intervals overlap"


@dataclass(frozen=True)
class Verdict:
    """One method under a table: where it beats both controls, and where not."""

    method: str
    text: str
    nothing: bool
    """It beats them nowhere."""


def verdicts(run: Run, measure: Measure) -> list[Verdict]:
    """What a table says of every method, by the paired differences; empty where no site has sent any."""
    found = []
    for method in explainers(run):
        judged = {
            label(run, site): _beats(leads)
            for site, report in _reports(run).items()
            if method in report.explanations and (leads := report.explanations[method].ahead.get(measure.key))
        }
        won, lost = ([site for site, good in judged.items() if good is which] for which in (True, False))
        if not judged:
            continue
        if not lost:
            text = f"beats both controls at {'every site' if len(won) > 1 else won[0]}."
        elif won:
            text = f"beats both controls at {_listed(won)}; at {_listed(lost)} it does not and explains nothing."
        else:
            text = f"does not beat both controls at {'any site' if len(lost) > 1 else lost[0]}: it explains nothing."
        found.append(Verdict(EXPLAINER_NAMES.get(method, method), text, not won))
    return found


@dataclass(frozen=True)
class Agreement:
    """How alike two methods' maps of the same views are, by site."""

    one: str
    other: str
    control: bool
    """One of the two knows nothing of the model."""
    sites: dict[str, Estimate]


def agreements(run: Run) -> list[Agreement]:
    """Of every two methods that any site has compared; those of two controls say nothing and are left out."""
    found = []
    for one, other in combinations(explainers(run), 2):
        sites = {}
        for site, report in _reports(run).items():
            for first, second in ((one, other), (other, one)):
                if first in report.explanations and second in report.explanations[first].agreement:
                    sites[site] = report.explanations[first].agreement[second]
        if sites and one not in CONTROLS:
            names = EXPLAINER_NAMES.get(one, one), EXPLAINER_NAMES.get(other, other)
            found.append(Agreement(*names, other in CONTROLS, sites))
    return found


def _beats(leads: dict[str, Estimate]) -> bool:
    """Whether the interval of the paired difference from every control lies above 0."""
    return all(defined(lead.low) and lead.low > 0.0 for lead in leads.values())


def _reports(run: Run) -> dict[str, EvaluationReport]:
    reports = {site: run.report_of(site) for site in run.trained() + run.unseen()}
    return {site: report for site, report in reports.items() if report is not None}


def _listed(names: Sequence[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
