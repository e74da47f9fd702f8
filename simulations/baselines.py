"""What federation is compared with: each site alone, and all data pooled in one place.

Both get the same model, the same settings and as many epochs as the federation has rounds times
local epochs, and are tested on every site's test patients. Where a run's sites agreed on a scale of grey values, pooled
training takes that one, and a site alone its own: it has nobody to agree with.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.site import Site, load_site
from client.tasks.inquiry import Inquiry
from client.tasks.work import work_of
from client.training import Round, train
from common import progress
from common.atomic import write_text
from common.configuration import RunConfig
from common.data.dataset import SiteData, merge
from common.errors import NoLesionError, OneClassSiteError
from common.metrics.froc import RATES
from common.models.network import Network
from common.packing import Tensors
from common.protocol import Estimate, EvaluationReport, FrocReport
from server.harmonisation import FILE as AGREED
from server.initial import initial_model
from simulations.scale import unsettled, with_scale_of

Table = dict[str, dict[str, Any]]
"""By site tested on: an ``Estimate`` of AUC, or of sensitivity by rate of false positives."""
MEASURES = ("auc", "froc")


def run_baselines(config: RunConfig, sites: dict[str, Site], unseen: dict[str, Site], folder: Path) -> None:
    """Train and test the baselines of ``config.baselines``; writes ``baselines.json``.

    Each finished one is kept in ``baselines/``, so that a killed run does not begin again.
    """
    if not config.baselines:
        return
    agreed = (folder / AGREED).exists()
    found: dict[str, dict[str, Any]] = {measure: {} for measure in MEASURES}
    if "local" in config.baselines:
        local = {
            name: _baseline(
                with_scale_of(unsettled(config), [site]) if agreed else config, f"local-{name}", [name], sites, unseen,
                folder,
            )
            for name, site in sites.items()
            if _can_learn(config, load_site(site, config))
        }  # fmt: skip
        for measure in MEASURES:
            found[measure]["local"] = {name: tables[measure] for name, tables in local.items()}
    if "pooled" in config.baselines:
        pooled = _baseline(config, "pooled", list(sites), sites, unseen, folder)
        for measure in MEASURES:
            found[measure]["pooled"] = pooled[measure]
    result = found["auc"] | ({"froc": found["froc"]} if config.task == "detector" else {})
    write_text(folder / "baselines.json", json.dumps(result, indent=1))


def _can_learn(config: RunConfig, part: SiteData) -> bool:
    """Whether the site can train alone; in the federation its refusal is put into quarantine each round."""
    try:
        work_of(config).trainable(part.of_split("train"), config)
    except (OneClassSiteError, NoLesionError) as error:
        progress.say(f"local-{part.site}: left out, {error.what}")
        return False
    return True


def _baseline(
    config: RunConfig, name: str, merged: list[str], sites: dict[str, Site], unseen: dict[str, Site], folder: Path
) -> dict[str, Table]:
    """Tables of AUC and FROC of what was trained at the ``merged`` sites."""
    file = folder / "baselines" / f"{name}.json"
    if file.exists():
        kept: dict[str, Table] = json.loads(file.read_text())
        return kept
    data = {site: load_site(place, config) for site, place in sites.items()}
    tests = {site: part.of_split("test") for site, part in data.items()}
    tests |= {site: load_site(place, config) for site, place in unseen.items()}
    model, work = train_centrally(config, name, [data[site] for site in merged]), work_of(config)
    tables: dict[str, Table] = {measure: {} for measure in MEASURES}
    for site, part in tests.items():
        if not part.breasts:
            tables["auc"][site] = asdict(Estimate(None))
            continue
        inquiry = Inquiry(f"{name}: testing on {site}", config.seed)
        report: EvaluationReport = work.measure(model, part, config, inquiry)
        tables["auc"][site] = asdict(report.auc)
        if report.froc:
            tables["froc"][site] = _at_rates(report.froc)
    write_text(file, json.dumps(tables, indent=1))
    aucs = "  ".join(f"{site} {_text(row['value'])}" for site, row in tables["auc"].items())
    means = "  ".join(f"{site} {_text(row['mean']['value'])}" for site, row in tables["froc"].items())
    progress.say(f"{name:12} AUC  {aucs}" + (f"  mean sensitivity  {means}" if means else ""))
    return tables


def _at_rates(found: FrocReport) -> dict[str, Any]:
    """Sensitivity per lesion at the stated rates, and their mean."""
    points = dict(zip(found.false_positives, found.per_lesion, strict=True))
    return {f"{rate:g}": asdict(points[rate]) for rate in RATES} | {"mean": asdict(found.mean_per_lesion)}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def train_centrally(config: RunConfig, name: str, parts: list[SiteData]) -> Network:
    """Train on the merged training patients; the run's rule chooses the epoch on the parts' validation patients."""
    merged = merge([part.of_split("train") for part in parts])
    validation = [part.of_split("validation") for part in parts]
    model = initial_model(config)
    rounds, selection = config.federation.rounds, config.federation.selection
    best: tuple[float, Tensors] | None = None
    with progress.track(f"{name}: epochs", rounds) as advance:
        for number in range(1, rounds + 1):
            train(model, merged, config, Round(number, rounds, config.seed, name))
            score = None if selection == "last" else _mean_score(config, model, validation, name)
            if score is not None and (best is None or score >= best[0]):
                best = score, {key: value.detach().clone() for key, value in model.state_dict().items()}
            advance(1)
    if best is not None:
        model.load_state_dict(best[1])
    return model


def _mean_score(config: RunConfig, model: Network, parts: list[SiteData], name: str) -> float | None:
    """Mean over the parts of what the rule of the run chooses by, where it is defined."""
    values = []
    for part in parts:
        report: EvaluationReport = work_of(config).validate(model, part, config, f"{name}: validation")
        if config.federation.selection == "validation_auc":
            values.append(report.auc.value)
        elif report.froc:
            values.append(report.froc.mean_per_lesion.value)
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
