"""Writes ``model-card.md``: what the published model is, what it was trained on, how well it does, what it is not for.

Follows the sections of Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*).
"""

from __future__ import annotations

from pathlib import Path

from common.atomic import write_text
from common.metrics.froc import RATES
from common.protocol import CONTROLS, Estimate
from common.uncovered import NOT_COVERED
from server.report.findings import (
    EXPLAINER_NAMES,
    at_rate,
    frocs,
    headline,
    is_phantom,
    label,
    mean_auc,
    method_name,
    readings,
    why_undefined,
    worst_site,
)
from server.report.numbers import ABSENT, count, defined, interval, number, share
from server.report.own_models import own_layers, personal_models
from server.report.run_folder import Run, SiteData, read_run_folder

KINDS = {
    "classifier": "A classifier of mammograms: the probability that a breast holds a malignancy, from all its views.",
    "detector": "A detector of masses in mammograms: boxes around lesions, each with a score that is no probability.",
}
_COUNTED = "Malignant, benign and normal count breasts. Splits are by patient."


def write_model_card(folder: Path) -> Path:
    """Write ``model-card.md`` into a run folder and return its path.

    Raises:
        CheckpointError: a file of the run is missing or damaged.
        ConfigurationError: ``config.yaml`` cannot be read.
        StorageError: the card cannot be written.
    """
    path = folder / "model-card.md"
    write_text(path, render(read_run_folder(folder)))
    return path


def render(run: Run) -> str:
    """The card of a run as Markdown; the same run gives the same text."""
    parts = [
        _what(run),
        _use(run),
        _data(run),
        _method(run),
        _results(run),
        *_froc(run),
        _explanations(run),
        _limits(run),
        _privacy(run),
    ]
    return "\n\n".join(parts) + "\n"


def _safe(text: str) -> str:
    """Text of others, with what Markdown or HTML would take for markup made harmless."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#!" else letter for letter in plain)


def _table(heads: list[str], rows: list[list[str]], *, words: int = 1) -> str:
    """A Markdown table whose first ``words`` columns are text, the others numbers."""
    lines = [heads, [":--"] * words + ["--:"] * (len(heads) - words), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _written(estimate: Estimate, decimals: int = 3) -> str:
    bounds = interval(estimate, decimals)
    return number(estimate.value, decimals) + (f" [{bounds}]" if bounds else "")


def _what(run: Run) -> str:
    model, imaging = run.config.model, run.config.imaging
    description = f"\n\n{_safe(run.config.description)}" if run.config.description else ""
    return (
        f"# Model card: {_safe(run.config.name)}\n\n"
        f"{KINDS[run.config.task]}"
        f"{description}\n\n"
        f"- Network: {_safe(model.backbone)}, {model.norm} normalisation, {model.pooling} pooling, "
        f"one-channel input of {imaging.height} by {imaging.width} pixels, harmonisation {imaging.harmonisation}\n"
        f"- Initial weights: {_safe(model.initial_weights or 'random')}\n"
        f"- File: `model.safetensors`, the model after round {run.evaluation.round} ({_safe(run.evaluation.rule)})"
    )


def _use(run: Run) -> str:
    return (
        "## Intended use\n\n"
        "Research, not a medical device. For studying federated training and explanations of mammography models. "
        "Not for screening, diagnosis, triage or any other decision about a patient."
    )


def _data(run: Run) -> str:
    rows = [
        [
            _safe(name),
            _role(site),
            count(site.patients), count(site.breasts), count(site.images),
            count(site.malignant), count(site.benign), count(site.normal), _safe(site.boxes),
        ]
        for name, site in run.sites.items()
    ]  # fmt: skip
    origin = "All images are simulated mammograms (phantoms); no patient was involved.\n\n" if is_phantom(run) else ""
    heads = ["Site", "Role", "Patients", "Breasts", "Images", "Malignant", "Benign", "Normal", "Boxes"]
    return f"## Data\n\n{origin}{_table(heads, rows, words=2)}\n\n{_COUNTED}"


def _role(site: SiteData) -> str:
    if site.left_out:
        return f"left out: {_safe(site.left_out)}"
    return "unseen" if site.role == "unseen" else "trained"


def _method(run: Run) -> str:
    method, training = run.config.method, run.config.training
    return (
        f"## Method\n\n{_safe(headline(run))}\n\n"
        f"- {_safe(method_name(run))}: {method.local_objective} local objective, "
        f"sites weighted by {method.site_weights}, server {method.server_optimizer}\n"
        f"- {training.local_epochs} local epoch(s) a round, batch {training.batch_size} breasts, learning rate "
        f"{training.learning_rate:g}, seed {run.config.seed}\n"
        f"- Prior log-odds added to every logit at evaluation: {run.evaluation.prior_log_odds:.3f}"
        + (f"\n- {said}" if (said := own_layers(run)) else "")
    )


def _results(run: Run) -> str:
    settings, rows = run.config.evaluation, []
    for site in run.trained() + run.unseen():
        report = run.report_of(site)
        if report is None:
            rows.append([_safe(site), "no evaluation arrived", *[ABSENT] * 5])
            continue
        auc = _written(report.auc) if defined(report.auc.value) else why_undefined(report)
        rows.append(
            [
                _safe(label(run, site)), auc, _written(report.sensitivity, 2),
                _written(report.brier), number(report.calibration_error),
                count(report.breasts), count(report.malignant),
            ]
        )  # fmt: skip
    heads = [
        "Site",
        "AUC",
        f"Sensitivity at {share(settings.specificity)} specificity",
        "Brier",
        "Calibration error",
        "Breasts",
        "Malignant",
    ]
    worst = worst_site(run)
    lines = [f"- Mean AUC over the training sites: {number(mean_auc(run, run.trained()))}"]
    if worst and (report := run.report_of(worst)):
        lines.append(f"- Worst training site: {_safe(worst)}, {_written(report.auc)}")
    lines += [
        f"- {_safe(found.site)}: personal model, which stays there, {_written(found.personal)}"
        for found in personal_models(run)
    ]
    lines += [
        f"- {reading.figure} mean AUC: {_safe(reading.what)}. {_safe(reading.detail)}" for reading in readings(run)
    ]
    return (
        f"## Results\n\nOn each site's own test patients; {share(settings.confidence)} intervals in brackets.\n\n"
        f"{_table(heads, rows)}\n\n" + "\n".join(lines)
    )


def _froc(run: Run) -> list[str]:
    """The section of a detector; none of a classifier."""
    if run.config.task != "detector":
        return []
    evaluation, sites = run.config.evaluation, run.trained() + run.unseen()
    rows = [
        [
            _safe(label(run, site)),
            *(_written(at_rate(found, rate), 2) for rate in RATES),
            _written(found.mean_per_lesion, 2), count(found.lesions), count(found.images),
        ]
        for site, found in frocs(run, sites).items()
    ]  # fmt: skip
    untold = [_safe(site) for site in sites if site not in frocs(run, sites)]
    rule = f"IoU of at least {evaluation.hit_overlap:g}" if evaluation.hit_rule == "iou" else "its centre in the box"
    heads = ["Site", *(f"at {rate:g}" for rate in RATES), "Mean", "Lesions", "Images"]
    return [
        "## Lesions found (FROC)\n\n"
        f"Share of the lesions found at so many false positives an image; a hit: {rule}, each detection and each "
        f"lesion used once. {share(evaluation.confidence)} intervals in brackets.\n\n"
        + (_table(heads, rows) if rows else "No site has enough patients with a known lesion.")
        + (f"\n\nWithout figures: {', '.join(untold)}." if untold and rows else "")
    ]


def _explanations(run: Run) -> str:
    rows = []
    for site in run.trained() + run.unseen():
        report = run.report_of(site)
        for method, score in (report.explanations if report else {}).items():
            rows.append(
                [
                    _safe(site), _safe(EXPLAINER_NAMES.get(method, method)), _written(score.pointing_game, 2),
                    _written(score.energy_in_box, 2), count(score.views),
                ]
            )  # fmt: skip
    if not rows:
        return "## Explanations\n\nNot scored in this run: that needs malignant test views with known boxes."
    heads = ["Site", "Method", "Pointing game", "Energy in box", "Views"]
    return (
        "## Explanations\n\nAgreement of explanation maps with the doctors' boxes. "
        f"A method that does not beat both controls ({' and '.join(CONTROLS)}) explains nothing.\n\n"
        + _table(heads, rows, words=2)
    )


def _limits(run: Run) -> str:
    unseen = ", ".join(run.unseen())
    lines = [
        "Intervals cover the choice of test patients, not the chance in training: this is one seed.",
        "Probabilities fit the prevalence of the sites' data, which need not be a screening prevalence.",
        f"Beyond the training sites it was tested on {_safe(unseen)} only."
        if unseen
        else "It was not tested on any site that took no part in training.",
        "Other machines, processing and populations may give worse results: evaluate at your own site first.",
    ]
    if is_phantom(run):
        lines.insert(0, "Trained on simulated images: it says nothing about real mammograms.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _privacy(run: Run) -> str:
    budgets = [
        f"- {_safe(site)}: epsilon {found.epsilon:.4g}, delta {found.delta:.3g}, unit {_safe(found.unit)}"
        for site, found in run.summary.privacy.items()
    ]
    guarantee = "Differential privacy: none in this run."
    if budgets:
        covered = "\n".join(f"- {line}" for line in NOT_COVERED)
        guarantee = (
            "Differential privacy of training, spent by this run:\n\n"
            + "\n".join(budgets)
            + f"\n\nOutside this guarantee:\n\n{covered}"
        )
    central = run.summary.central_privacy
    if central:
        guarantee += (
            f"\n\nNoise at the server, for whoever sees the models but not the updates: epsilon {central.epsilon:.4g}, "
            f"delta {central.delta:.3g}, unit {_safe(central.unit)}."
        )
    return (
        f"## Privacy\n\n{guarantee}\n\n"
        "Images stayed at their sites; model updates and the statistics shown here left them. "
        "A model can still reveal something of the patients it learnt from."
    )
