"""The figures of the report, each from typed records to inline SVG."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from common.metrics.froc import RATES
from common.page.drawing import INK, LINE, MUTED, PAPER, SiteStyle, draw, no_frame
from common.protocol import Estimate, EvaluationReport, FrocReport
from server.history import RoundRecord
from server.report.findings import aucs, compare, label
from server.report.numbers import MINUS, defined, mean, number
from server.report.run_folder import Run

_POOLED, _OWN, _OTHERS = "pooled training", "the site's own model", "mean of other sites' own models"


def forest(run: Run, styles: dict[str, SiteStyle]) -> str:
    """AUC with interval per site: federated in the site's colour, baselines in grey beneath."""
    found = aucs(run, run.trained() + run.unseen())
    if not found:
        return ""
    baselines = {row.site: row for row in compare(run)}
    step = 4 if baselines else 1.4
    height = 0.95 + 0.19 * step * len(found)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        no_frame(axes)
        axes.grid(axis="y", visible=False)
        ticks: list[float] = []
        for place, (site, auc) in enumerate(found.items()):
            top, row = place * step, baselines.get(site)
            ticks.append(top + (1 if row else 0))
            _whisker(axes, auc, top, styles[site].colour, "o", 8, 2.6)
            if row:
                if row.pooled:
                    _whisker(axes, row.pooled, top + 0.85, MUTED, "D", 5, 1.2)
                if row.own_local:
                    _whisker(axes, row.own_local, top + 1.6, MUTED, "s", 5, 1.2)
                if defined(row.others_local):
                    _whisker(axes, Estimate(row.others_local), top + 2.35, MUTED, "x", 6, 1.2)
            if place:
                axes.axhline(top - 0.85 if baselines else top - 0.7, color=LINE, linewidth=0.6)
        axes.set_yticks(ticks, [label(run, site) for site in found])
        axes.tick_params(axis="y", labelcolor=INK, labelsize=11)
        axes.set_ylim(len(found) * step - (0.85 if baselines else 0.7), -0.85)
        lowest = min(min(axes.dataLim.x0, 1.0), 0.98)
        axes.set_xlim(max(0.0, lowest - 0.03), 1.005)
        if lowest < 0.55:
            axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlabel("AUC on the site's test patients")
        if baselines:
            figure.legend(handles=_legend(), loc="outside upper left", ncols=4, fontsize=9.5, handletextpad=0.3)

    return draw("forest", (9.2, height), "AUC with interval per site, federated and baselines", paint)


def _legend() -> list[Line2D]:
    shapes = (("o", "federated", 8, INK), ("D", _POOLED, 5, MUTED), ("s", _OWN, 5, MUTED), ("x", _OTHERS, 6, MUTED))
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=size, label=label)
        for marker, label, size, colour in shapes
    ]


def _whisker(axes: Axes, auc: Estimate, y: float, colour: str, marker: str, size: float, width: float) -> None:
    if not defined(auc.value):
        return
    if defined(auc.low) and defined(auc.high):
        axes.plot([auc.low, auc.high], [y, y], color=colour, linewidth=width, solid_capstyle="round", alpha=0.75)
    axes.plot(
        [auc.value],
        [y],
        marker=marker,
        color=colour,
        markersize=size,
        markeredgecolor=colour if marker == "x" else PAPER,
    )


def validation_curve(run: Run, styles: dict[str, SiteStyle]) -> str:
    """Validation AUC, or a detector's sensitivity, per site and round, with the mean and the chosen round."""
    detector = run.config.task == "detector"
    series = {site: [_validation(entry, site, detector) for entry in run.rounds] for site in run.trained()}
    average = [
        mean([value for values in series.values() if defined(value := values[at])]) for at in range(len(run.rounds))
    ]
    title, ylabel = ("Validation FROC", "mean sensitivity") if detector else ("Validation AUC", "AUC")
    return _curves("validation", title, ylabel, run, run.rounds, styles, series, average) if run.rounds else ""


def loss_curve(run: Run, styles: dict[str, SiteStyle]) -> str:
    """Mean training loss per site and round, with the chosen round."""
    series = {site: [_loss(entry, site) for entry in run.rounds] for site in run.trained()}
    return (
        _curves("loss", "Training loss", "mean loss of the round", run, run.rounds, styles, series)
        if run.rounds
        else ""
    )


def privacy_curve(run: Run, styles: dict[str, SiteStyle]) -> str:
    """What the run has cost each site's patients, round by round; a round that a site missed costs nothing."""
    sites = [site for site in run.trained() if site in run.summary.privacy]
    series = {site: _spent(run.rounds, site) for site in sites}
    return _curves("privacy", "Privacy spent", "epsilon", run, run.rounds, styles, series) if series else ""


def _spent(entries: list[RoundRecord], site: str) -> list[float | None]:
    spent, last = [], None
    for entry in entries:
        found = entry.train[site].privacy if site in entry.train else None
        last = found.epsilon if found else last
        spent.append(last)
    return spent


def explanation_curves(run: Run, styles: dict[str, SiteStyle]) -> list[str]:
    """How the first explainer's maps agree with the boxes of the validation patients, per site and explained round."""
    method = run.config.evaluation.explainers[0]
    told = [entry for entry in run.rounds if any(site.explanations for site in entry.validation.values())]
    curves = []
    for measure, title in (("pointing_game", "Pointing game"), ("energy_in_box", "Energy in the box")):
        series = {site: [_look(entry, site, method, measure) for entry in told] for site in run.trained()}
        if told:
            curves.append(_curves(measure, title, "validation patients", run, told, styles, series))
    return curves


def _look(entry: RoundRecord, site: str, method: str, measure: str) -> float | None:
    scores = entry.validation[site].explanations if site in entry.validation else {}
    value: float | None = getattr(scores[method], measure) if method in scores else None
    return value


def _curves(
    name: str,
    title: str,
    ylabel: str,
    run: Run,
    entries: list[RoundRecord],
    styles: dict[str, SiteStyle],
    series: dict[str, list[float | None]],
    average: list[float | None] | None = None,
) -> str:
    rounds, chosen = [entry.round for entry in entries], run.evaluation.round

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title, pad=12)
        axes.set(xlabel="round", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.04)
        axes.axvline(chosen, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(
            f"round {chosen}", (chosen, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", va="bottom", color=MUTED, fontsize=9,
        )  # fmt: skip
        for site, values in series.items():
            style = styles[site]
            axes.plot(
                rounds, _gaps(values), color=style.colour, marker=style.marker, linestyle=style.dash, markersize=5.5,
                markeredgecolor=PAPER, markeredgewidth=0.6, label=site,
            )  # fmt: skip
        if average:
            axes.plot(rounds, _gaps(average), color=INK, linewidth=2.8, label="mean of sites", zorder=4)
        figure.legend(loc="outside lower center", ncols=min(5, len(series) + 1), fontsize=9.5, columnspacing=1.2)

    return draw(name, (5.3, 3.9), f"{title} per site and round", paint)


def _validation(entry: RoundRecord, site: str, detector: bool) -> float | None:
    if site not in entry.validation:
        return None
    return entry.validation[site].froc if detector else entry.validation[site].auc


def _loss(entry: RoundRecord, site: str) -> float | None:
    return entry.train[site].loss if site in entry.train else None


def _gaps(values: list[float | None]) -> list[float]:
    """Undefined values as NaN: a gap in the line, not a zero."""
    return [value if defined(value) else float("nan") for value in values]


def roc(name: str, site: str, report: EvaluationReport, specificity: float, style: SiteStyle) -> str:
    """ROC of one site with the sensitivity, and its interval, at the task's specificity."""
    if not report.roc_specificity:
        return ""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _square(axes, f"1 {MINUS} specificity", "sensitivity")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        corners = zip((1 - value for value in report.roc_specificity), report.roc_sensitivity, strict=True)
        places = sorted([(0.0, 0.0), *corners, (1.0, 1.0)])
        axes.plot([x for x, _ in places], [y for _, y in places], color=style.colour, linewidth=2.2)
        point = report.sensitivity
        if defined(point.value):
            x = 1 - specificity
            if defined(point.low) and defined(point.high):
                axes.plot([x, x], [point.low, point.high], color=INK, linewidth=1.4)
            axes.plot([x], [point.value], marker="o", color=INK, markersize=7, markeredgecolor=PAPER)
        axes.text(0.98, 0.05, f"AUC {number(report.auc.value)}", ha="right", color=INK, fontsize=11, fontweight="bold")

    return draw(name, (3.1, 3.1), f"ROC curve of {site}", paint)


def froc(name: str, site: str, found: FrocReport, style: SiteStyle) -> str:
    """FROC of one site: sensitivity per lesion with its band, per breast dashed; false positives in octaves."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        rates = found.false_positives
        for points, dash, width in ((found.per_lesion, "-", 2.2), (found.per_breast, (0, (3, 2)), 1.4)):
            values = [point.value if defined(point.value) else math.nan for point in points]
            axes.step(rates, values, where="post", color=style.colour, linewidth=width, linestyle=dash)
        low = [point.low if defined(point.low) else math.nan for point in found.per_lesion]
        high = [point.high if defined(point.high) else math.nan for point in found.per_lesion]
        axes.fill_between(rates, low, high, step="post", color=style.colour, alpha=0.16, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set(
            xlim=(rates[0], rates[-1]), ylim=(-0.02, 1.02), xlabel="false positives an image", ylabel="sensitivity"
        )
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])

    return draw(name, (3.6, 3.1), f"FROC curve of {site}", paint)


def calibration(name: str, site: str, report: EvaluationReport, style: SiteStyle) -> str:
    """Observed share of malignant breasts against the predicted probability; dots grow with their count."""
    if not report.calibration:
        return ""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _square(axes, "predicted probability", "observed share")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        bins = sorted((entry.predicted, entry.observed, entry.count) for entry in report.calibration)
        axes.plot([x for x, _, _ in bins], [y for _, y, _ in bins], color=style.colour, linewidth=1.2, alpha=0.6)
        largest = max(size for _, _, size in bins)
        sizes = [25 + 110 * size / max(largest, 1) for _, _, size in bins]
        axes.scatter(
            [x for x, _, _ in bins], [y for _, y, _ in bins], s=sizes, color=style.colour, edgecolors=PAPER, zorder=3
        )

    return draw(name, (3.1, 3.1), f"Calibration of {site}", paint)


def _square(axes: Axes, xlabel: str, ylabel: str) -> None:
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=xlabel, ylabel=ylabel, xticks=ticks, yticks=ticks
    )
