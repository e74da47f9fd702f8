"""What the numbers of a run say: mean, worst site, comparison with baselines."""

from __future__ import annotations

from dataclasses import dataclass

from common.protocol import Estimate, EvaluationReport, FrocReport
from server.report.numbers import defined, mean, number, signed
from server.report.run_folder import Run

METHOD_NAMES = {
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "fedavgm": "FedAvgM",
    "scaffold": "SCAFFOLD",
    "sam": "FedSAM",
    "ditto": "Ditto",
    "silobn": "SiloBN",
    "fedbn": "FedBN",
    "fedper": "FedPer",
    "feddg-ga": "FedDG-GA",
    "afl": "AFL",
    "fedomg": "FedOMG",
    "fedadam": "FedAdam",
    "fedyogi": "FedYogi",
    "dp-fedavg": "DP-FedAvg",
    "combined": "combined",
}
EXPLAINER_NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
    "shap": "deep SHAP",
    "expected_gradients": "expected gradients",
    "intensity": "intensity (control)",
    "random": "random (control)",
}


@dataclass(frozen=True)
class Comparison:
    """AUC on one site's test patients, by how the model was trained."""

    site: str
    federated: Estimate
    pooled: Estimate | None
    own_local: Estimate | None
    others_local: float | None
    """Mean over the models of the other sites alone."""


def method_name(run: Run) -> str:
    """The method as the field writes it."""
    return METHOD_NAMES.get(run.config.method.name, run.config.method.name)


def aucs(run: Run, sites: list[str]) -> dict[str, Estimate]:
    """The defined AUCs of some sites."""
    reports = {site: run.report_of(site) for site in sites}
    return {site: report.auc for site, report in reports.items() if report is not None and defined(report.auc.value)}


def mean_auc(run: Run, sites: list[str]) -> float | None:
    """Mean AUC over those sites where it is defined."""
    return mean([auc.value for auc in aucs(run, sites).values() if auc.value is not None])


def worst_site(run: Run) -> str | None:
    """The training site with the lowest AUC; None with fewer than two to compare."""
    found = aucs(run, run.trained())
    return min(found, key=lambda site: found[site].value or 0.0) if len(found) > 1 else None


def frocs(run: Run, sites: list[str]) -> dict[str, FrocReport]:
    """FROC curves of the sites that have one."""
    reports = {site: run.report_of(site) for site in sites}
    return {site: report.froc for site, report in reports.items() if report is not None and report.froc is not None}


def at_rate(found: FrocReport, rate: float, *, of_breasts: bool = False) -> Estimate:
    """Sensitivity at a rate of false positives an image that is on the curve's grid."""
    return (found.per_breast if of_breasts else found.per_lesion)[found.false_positives.index(rate)]


def why_undefined(report: EvaluationReport) -> str:
    """Why a site has no AUC."""
    if report.breasts == 0:
        return "not defined: no test patients"
    if report.malignant == 0:
        return "not defined: no malignant breast in the test set"
    if report.malignant == report.breasts:
        return "not defined: only malignant breasts in the test set"
    return "not defined"


def is_phantom(run: Run) -> bool:
    """Whether every site's images are simulated."""
    return bool(run.sites) and all(site.source == "phantom" for site in run.sites.values())


def label(run: Run, site: str) -> str:
    """The site's name, with ``(unseen)`` where the name itself does not say so."""
    return f"{site} (unseen)" if site in run.unseen() and site.lower() != "unseen" else site


def headline(run: Run) -> str:
    """What ran, in one plain sentence."""
    sites, rounds = len(run.trained()), len(run.rounds)
    kind = "simulated hospital" if is_phantom(run) else "site"
    who = f"{sites} {kind}s trained together" if sites != 1 else f"One {kind} trained"
    length = f"{rounds} rounds" if rounds != 1 else "one round"
    unseen = run.unseen()
    tested = (
        f"; the model was then tested on every site, and on {' and '.join(unseen)}, which it had never seen"
        if unseen
        else ""
    )
    return f"{who} for {length} with {method_name(run)}; no image left its site{tested}."


def compare(run: Run) -> list[Comparison]:
    """Federated against the baselines, on every site with a defined federated AUC."""
    if run.baselines is None:
        return []
    local, rows = run.baselines.local, []
    for site, auc in aucs(run, run.trained() + run.unseen()).items():
        others = [tests[site].value for trained, tests in local.items() if trained != site and site in tests]
        rows.append(
            Comparison(
                site=site,
                federated=auc,
                pooled=run.baselines.pooled.get(site),
                own_local=local.get(site, {}).get(site),
                others_local=mean([value for value in others if defined(value)]),
            )
        )
    return rows


def overlap(first: Estimate, second: Estimate) -> bool | None:
    """Whether two intervals overlap; None when one is missing."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None
    return first.low <= second.high and second.low <= first.high


@dataclass(frozen=True)
class Reading:
    """One comparison in words: the figure, what it is, and what may be said of it."""

    figure: str
    what: str
    detail: str


def readings(run: Run) -> list[Reading]:
    """The baselines in plain words: differences as figures, with what the intervals allow to say."""
    rows, said = compare(run), []
    groups = ((run.trained(), "on the training sites' patients"), (run.unseen(), "on the unseen site's patients"))
    for sites, where in groups:
        chosen = [row for row in rows if row.site in sites]
        pooled = [(row.site, row.federated, row.pooled) for row in chosen if row.pooled and defined(row.pooled.value)]
        others = [(row.site, row.federated, Estimate(row.others_local)) for row in chosen if defined(row.others_local)]
        own = [
            (row.site, row.federated, row.own_local) for row in chosen if row.own_local and defined(row.own_local.value)
        ]
        if pooled:
            said.append(_reading(f"federated minus pooled training, {where}", pooled, intervals=True))
        if others:
            said.append(_reading(f"federated minus the mean of models that other sites trained alone, {where}", others))
        if own:
            said.append(
                _reading("federated minus each training site's own model, on its own patients", own, intervals=True)
            )
    return said


def _reading(what: str, pairs: list[tuple[str, Estimate, Estimate]], *, intervals: bool = False) -> Reading:
    """Difference of the means over sites; the intervals are compared only where both sides have them."""
    federated = mean([first.value for _, first, _ in pairs if first.value is not None]) or 0.0
    other = mean([second.value for _, _, second in pairs if second.value is not None]) or 0.0
    sentences = [f"{number(federated)} against {number(other)}."]
    if len(pairs) > 1:
        each = ", ".join(f"{site} {signed((first.value or 0) - (second.value or 0))}" for site, first, second in pairs)
        sentences.append(f"Per site: {each}.")
    if intervals:
        sentences.append(_interval_words(pairs))
    return Reading(signed(federated - other), what, " ".join(sentences))


def _interval_words(pairs: list[tuple[str, Estimate, Estimate]]) -> str:
    seen = {site: overlap(first, second) for site, first, second in pairs}
    if None in seen.values():
        return f"No intervals to compare for {', '.join(site for site, found in seen.items() if found is None)}."
    apart = [site for site, found in seen.items() if not found]
    if not apart:
        where = "The intervals overlap at every site" if len(pairs) > 1 else "The intervals overlap"
        return f"{where}, so these figures alone do not settle which is better."
    return (
        f"The intervals lie apart at {', '.join(apart)}{' and overlap elsewhere' if len(apart) < len(pairs) else ''}."
    )


def troubles(run: Run) -> list[str]:
    """Replies that were not used, gathered by site and cause."""
    rounds: dict[str, list[int]] = {}
    for entry in run.rounds:
        for reply in entry.quarantined:
            cause = f"{reply.site}: reply put into quarantine ({reply.error}: {reply.meaning})"
            rounds.setdefault(cause, []).append(entry.round)
        for site in entry.missing:
            rounds.setdefault(f"{site}: no reply in time", []).append(entry.round)
    last = [
        f"{reply.site}: final test put into quarantine ({reply.error}: {reply.meaning})"
        for reply in run.evaluation.quarantined
    ]
    return [
        f"{cause}, in round{'s' * (len(found) > 1)} {', '.join(map(str, found))}" for cause, found in rounds.items()
    ] + last
