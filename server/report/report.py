"""Writes ``report.html``: one self-contained page, without scripts and without a single outside request."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from common.atomic import write_text
from common.configuration import to_yaml
from common.metrics.froc import RATES
from common.page.drawing import SiteStyle, site_styles
from common.page.style import style_sheet
from common.protocol import CONTROLS, Estimate, EvaluationReport
from common.uncovered import NOT_COVERED
from server.report import explanations, figures, numbers
from server.report.findings import (
    EXPLAINER_NAMES,
    at_rate,
    aucs,
    frocs,
    headline,
    is_phantom,
    label,
    mean_auc,
    method_name,
    readings,
    troubles,
    why_undefined,
    worst_site,
)
from server.report.own_models import own_layers, personal_models
from server.report.pictures import TOTAL_BYTES, Gallery, embed
from server.report.run_folder import Run, SiteData, read_run_folder

RATE = 1.0
"""False positives an image at which detectors are compared in one figure."""
BOXES_OF_DOCTORS = "the box a doctor drew around the malignancy"
BOXES_OF_PHANTOMS = "the box of the simulated malignancy"
LESIONS_OF_DOCTORS = "the boxes that doctors drew around lesions"
LESIONS_OF_PHANTOMS = "the boxes of the simulated masses"


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    title: str
    value: str
    note: str
    colour: str = ""


@dataclass(frozen=True)
class SiteRow:
    """Everything the tables show of a site."""

    name: str
    label: str
    style: SiteStyle
    data: SiteData
    report: EvaluationReport | None
    worst: bool
    undefined: str
    """Why there is no AUC; empty when there is one."""
    roc: Markup
    calibration: Markup
    froc: Markup
    gallery: Gallery | None


@dataclass(frozen=True)
class MatrixRow:
    """One way of training in the matrix trained-on by tested-on."""

    label: str
    own: str | None
    """The one site it was trained on; None when trained on all."""
    tests: dict[str, Estimate]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Raises:
        CheckpointError: a file of the run is missing or damaged.
        ConfigurationError: ``config.yaml`` cannot be read.
        StorageError: the report cannot be written.
    """
    path = folder / "report.html"
    write_text(path, render(read_run_folder(folder)))
    return path


def render(run: Run) -> str:
    """The page of a run; the same run gives the same text."""
    files = resources.files("server.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name in ("number", "signed", "interval", "count", "share", "bytes_text", "duration", "error_share"):
        environment.filters[name] = getattr(numbers, name)
    styles = site_styles(run.trained() + run.unseen() + [name for name, site in run.sites.items() if site.left_out])
    rows = _rows(run, styles)
    return environment.from_string((files / "report.html.j2").read_text(encoding="utf-8")).render(
        run=run,
        config=run.config,
        # A style element is raw text: nothing in it is escaped, and our own file is all it holds.
        css=Markup(style_sheet()),
        headline=headline(run),
        method=method_name(run),
        own_layers=own_layers(run),
        personal_models=personal_models(run),
        phantom=is_phantom(run),
        tiles=_tiles(run, styles),
        rows=rows,
        took_part=[row for row in rows if not row.data.left_out],
        left_out=[row for row in rows if row.data.left_out],
        forest=Markup(figures.forest(run, styles)),
        curves=[Markup(draw(run, styles)) for draw in (figures.validation_curve, figures.loss_curve)],
        readings=readings(run),
        troubles=troubles(run),
        where_lesions_come_from=LESIONS_OF_PHANTOMS if is_phantom(run) else LESIONS_OF_DOCTORS,
        where_boxes_come_from=BOXES_OF_PHANTOMS if is_phantom(run) else BOXES_OF_DOCTORS,
        matrix=_matrix(run),
        rates=RATES,
        at_rate=at_rate,
        froc_matrix=_froc_matrix(run),
        explainers=explanations.explainers(run),
        looks=[Markup(curve) for curve in figures.explanation_curves(run, styles)],
        spent=Markup(figures.privacy_curve(run, styles)),
        not_covered=NOT_COVERED,
        measures=[(measure, explanations.verdicts(run, measure)) for measure in explanations.measures(run)],
        agreements=explanations.agreements(run),
        figure=explanations.figure,
        views_of=explanations.views,
        controls=CONTROLS,
        explainer_names=EXPLAINER_NAMES,
        against_controls=explanations.against_controls,
        settings=to_yaml(run.config),
        versions=versions(),
        heat=_heat,
    )


def _tiles(run: Run, styles: dict[str, SiteStyle]) -> list[Tile]:
    trained, unseen = run.trained(), run.unseen()
    found = aucs(run, trained)
    absent = len(trained) - len(found)
    note = f"over {len(found)} training site{'s' * (len(found) != 1)}" + (
        f"; {absent} without an AUC" if absent else ""
    )
    tiles = [Tile("Mean AUC", numbers.number(mean_auc(run, trained)), note)]
    if worst := worst_site(run):
        tiles.append(
            Tile(
                f"Worst site: {worst}",
                numbers.number(found[worst].value),
                _interval_note(run, found[worst]),
                styles[worst].colour,
            )
        )
    abroad = aucs(run, unseen)
    for site in unseen[:2]:
        auc = abroad.get(site, Estimate(None))
        tiles.append(
            Tile(f"Unseen site: {site}", numbers.number(auc.value), _interval_note(run, auc), styles[site].colour)
        )
    if curves := frocs(run, trained):
        values = [at_rate(curve, RATE).value or 0.0 for curve in curves.values()]
        where = f"of the lesions at {len(curves)} training site{'s' * (len(curves) != 1)}"
        tiles.insert(0, Tile(f"Found at {RATE:g} false positive an image", numbers.number(numbers.mean(values)), where))
    if not unseen:
        tiles.append(Tile("Unseen site", numbers.ABSENT, "none in this run"))
    present = [run.sites[site] for site in trained + unseen]
    tested = sum(report.patients for report in map(run.report_of, trained + unseen) if report)
    tiles.append(
        Tile(
            "Patients",
            numbers.count(sum(site.patients for site in present)),
            f"at {len(present)} sites; {numbers.count(tested)} tested",
        )
    )
    return tiles


def _interval_note(run: Run, auc: Estimate) -> str:
    written = numbers.interval(auc)
    return (
        f"{numbers.share(run.config.evaluation.confidence)} interval {written}"
        if written
        else "AUC without an interval"
    )


def _rows(run: Run, styles: dict[str, SiteStyle]) -> list[SiteRow]:
    worst, rows = worst_site(run), []
    budget = TOTAL_BYTES // max(len(run.galleries), 1)
    for place, (name, style) in enumerate(styles.items()):
        report, data = run.report_of(name), run.sites[name]
        drawn = report if report and not data.left_out else None
        missing = why_undefined(report) if report and not numbers.defined(report.auc.value) else ""
        folder = run.folder / "sites" / name / "reports" / "gallery"
        rows.append(
            SiteRow(
                name=name,
                label=label(run, name),
                style=style,
                data=data,
                report=drawn,
                worst=name == worst,
                undefined=missing if report else "no evaluation arrived from this site",
                roc=Markup(
                    figures.roc(f"roc{place}", name, drawn, run.config.evaluation.specificity, style) if drawn else ""
                ),
                calibration=Markup(figures.calibration(f"calibration{place}", name, drawn, style) if drawn else ""),
                froc=Markup(figures.froc(f"froc{place}", name, drawn.froc, style) if drawn and drawn.froc else ""),
                gallery=embed(folder, run.galleries[name], budget) if name in run.galleries else None,
            )
        )
    return rows


def _matrix(run: Run) -> list[MatrixRow]:
    """Local models, then pooled, then federated; empty without baselines."""
    if run.baselines is None:
        return []
    rows = [MatrixRow(f"{site} alone", site, tests) for site, tests in run.baselines.local.items()]
    if run.baselines.pooled:
        rows.append(MatrixRow("pooled", None, run.baselines.pooled))
    return [*rows, MatrixRow("federated", None, aucs(run, run.trained() + run.unseen()))]


def _froc_matrix(run: Run) -> list[MatrixRow]:
    """As :func:`_matrix`, of a detector's sensitivity at one false positive an image."""
    if run.baselines is None or run.baselines.froc is None:
        return []
    key, baselines = f"{RATE:g}", run.baselines.froc
    rows = [
        MatrixRow(f"{site} alone", site, {name: found[key] for name, found in tests.items()})
        for site, tests in baselines.local.items()
    ]
    if baselines.pooled:
        rows.append(MatrixRow("pooled", None, {name: found[key] for name, found in baselines.pooled.items()}))
    federated = {name: at_rate(curve, RATE) for name, curve in frocs(run, run.trained() + run.unseen()).items()}
    return [*rows, MatrixRow("federated", None, federated)]


def _heat(value: float | None) -> str:
    """Background of a matrix cell: from nothing at AUC 0.5 to blue at 1."""
    strength = min(max(((value if numbers.defined(value) else 0.5) - 0.5) / 0.5, 0.0), 1.0)
    return f"rgba(0, 114, 178, {0.62 * strength**1.6:.2f})"


def versions() -> dict[str, str]:
    """Versions of the software that writes the report."""
    found = {"Python": platform.python_version()}
    for package in ("xai-federation", "torch", "torchvision", "flwr", "pydicom", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found
