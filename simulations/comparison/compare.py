"""``xai-sim compare``: from the list of methods to ``compare.json`` and ``compare.html``; resumable at every point."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from common import progress
from common.atomic import write_text
from common.configuration import RunConfig, read_run, to_yaml
from common.configuration.loading import settings
from common.errors import CheckpointError, ConfigurationError, NoLesionError, OneClassSiteError
from common.locking import held
from common.metrics.paired import resampled
from server.history import RoundRecord, read_history
from simulations.comparison.answers import BySite, BySiteOfFolds, of_folds, only_of, read_answers
from simulations.comparison.findings import (
    FORMAT,
    Columns,
    Comparison,
    Outcomes,
    comparable,
    cost_of,
    counts_of,
    differences_from,
    enough_samples,
    figure_of,
    told,
    validation_auc,
    way_of,
)
from simulations.comparison.page import write_page
from simulations.comparison.plan import (
    Asked,
    Sites,
    Training,
    baseline_settings,
    load_methods,
    reference_of,
    trainings,
)
from simulations.comparison.processes import carry_out_all
from simulations.comparison.work import prepare
from simulations.sources import available, participants, write_phantom

SETTINGS, FIGURES = "config.yaml", "compare.json"
RESAMPLING_SEED = 0


def compare(
    asked: Asked, out: Path, data: Path | None, baselines: list[str], at_once: int, target: float | None = None
) -> Path:
    """Carry out what is missing of a comparison and write its figures.

    Args:
        asked: scenario, methods, seeds.
        out: folder of the comparison; every training has a folder in it, finished ones are kept.
        data: folder with one sub-folder a site, or ``None`` for phantom sites, which all methods share.
        baselines: any of ``local`` and ``pooled``.
        at_once: trainings at a time, each in a process with one thread.
        target: validation AUC to count rounds and bytes to; ``None``: what the reference has after its last round.

    Returns:
        Path of the page.

    Raises:
        ConfigurationError: what is asked for cannot be compared.
        CheckpointError: the folder holds a comparison with other settings.
        OneClassSiteError, NoLesionError: no training site has test patients of both classes, or with a lesion.
        XaiFederationError: of a training, by name.
    """
    methods = load_methods(asked)
    if len(methods) + len(baselines) < 2:
        raise ConfigurationError("there is one method and nothing to compare it with", where="--methods", do="name two")
    with held(out / "compare.lock", "a comparison"):
        _require_same_settings(out, asked)
        sites = _sites(asked, methods, data, out)
        plan = trainings(asked, methods, baselines, sites, out)
        prepare(plan, out / "cache")
        progress.say(f"{len(plan)} trainings, {min(at_once, len(plan))} at a time")
        carry_out_all(plan, out / "cache", min(at_once, len(plan)))
        found = put_together(asked, methods, sites, plan, out, target, data is None)
        write_text(out / FIGURES, json.dumps(told(found), indent=1))
        return write_page(out, found)


def _require_same_settings(out: Path, asked: Asked) -> None:
    """Methods and seeds may be added to a comparison later; what all of them share may not change."""
    now, file = baseline_settings(asked), out / SETTINGS
    if file.exists():
        begun, wanted = settings(read_run(file)), settings(now)
        changed = [key for key in wanted if begun.get(key) != wanted[key]]
        if changed:
            key = changed[0]
            raise CheckpointError(
                f"the comparison there has {key} = {begun.get(key)}, now {wanted[key]} is asked for",
                where=str(out),
                do="ask for the same settings (methods and seeds may be added), or choose another --out",
            )
    write_text(file, to_yaml(now))


def _sites(asked: Asked, methods: dict[str, RunConfig], data: Path | None, out: Path) -> Sites:
    config = baseline_settings(asked)
    if data is None:
        folders = {}
        for seed in asked.seeds:
            drawn = config.phantom.dataset_seed + (seed if asked.new_patients else 0)
            folders[seed] = out / "phantom" / f"patients-{drawn}"
            write_phantom(replace(config.phantom, dataset_seed=drawn), folders[seed])
        train, unseen = config.phantom.sites, config.phantom.unseen
    else:
        if asked.new_patients:
            raise ConfigurationError(
                "patients of a data folder cannot be drawn anew", where="--new-patients", do="leave it out"
            )
        if not config.unseen:
            there = available(data)
            config = replace(config, unseen=[name for name in config.phantom.unseen if name in there])
        people = participants(config, data.resolve(), out / "preparation")
        for name, reason in people.left_out.items():
            progress.say(f"{name} is left out: {reason}")
        folders = {seed: data.resolve() for seed in asked.seeds}
        train, unseen = list(people.sites), list(people.unseen)
    if asked.oracle and not unseen:
        raise ConfigurationError("there is no unseen site to train an oracle at", where="--oracle", do="leave it out")
    if asked.leave_one_out and len(train) < 2:
        raise ConfigurationError(
            "no site is left to train when the only one is left out", where="--leave-one-out", do="leave it out"
        )
    return Sites(tuple(train), tuple(unseen), folders)


def put_together(
    asked: Asked,
    methods: dict[str, RunConfig],
    sites: Sites,
    plan: list[Training],
    out: Path,
    target: float | None,
    simulated: bool,
) -> Comparison:
    """The figures of finished trainings.

    Raises:
        OneClassSiteError, NoLesionError: no training site has test patients of both classes, or with a lesion.
        CheckpointError: models were not tested on the same breasts.
    """
    whole, left_out = by_way(asked, plan)
    first = next(iter(whole.values()))[0]
    train = tuple(name for name in sites.train if comparable(first[name]))
    unseen = tuple(name for name in sites.unseen if comparable(first[name]))
    config = next(iter(methods.values()))
    if not train:
        detector = config.task == "detector"
        lacking, lack = (NoLesionError, "with a lesion") if detector else (OneClassSiteError, "of both classes")
        raise lacking(
            f"no training site has test patients {lack}, so nothing can be compared",
            where=str(out),
            do="raise data.test_fraction, or take larger sites",
        )
    columns, wanted = Columns((*train, *unseen), train, unseen), config.evaluation.bootstrap_samples
    samples = enough_samples(wanted, len(whole), config.evaluation.confidence)
    try:
        tested = Outcomes(
            columns,
            resampled(whole, columns.sites, samples, RESAMPLING_SEED),
            resampled(left_out, columns.sites, samples, RESAMPLING_SEED) if left_out else {},
        )
    except ValueError as error:
        raise CheckpointError(f"{error}", where=str(out), do="compare in a new folder (--out)") from error
    reference, confidence = reference_of(list(methods)), config.evaluation.confidence
    histories = _histories(plan)
    aim, what = (
        (target, "as asked for") if target is not None else (_final(histories, reference), f"{reference} at the end")
    )
    ways = {}
    for name in whole:
        runs = [
            cost_of(training.seed, training.fold, str(training.folder.relative_to(out)), records, aim)
            for training, records in histories.get(name, [])
        ]
        kind = "method" if name in methods else "personal" if name.endswith(PERSONAL) else "baseline"
        ways[name] = way_of(name, kind, tested, confidence, runs)
    return Comparison(
        format=FORMAT,
        scenario=config.name,
        description=config.description,
        simulated=simulated,
        seeds=list(asked.seeds),
        new_patients=asked.new_patients,
        folds=asked.folds,
        reference=reference,
        confidence=confidence,
        samples=samples,
        rounds=config.federation.rounds,
        local_epochs=config.training.local_epochs,
        target=aim,
        target_is=what,
        sites={
            name: counts_of("train" if name in sites.train else "unseen", first[name])
            for name in (*sites.train, *sites.unseen)
        },
        ways=ways,
        differences=differences_from(reference, tested, confidence),
        figure=figure_of(config),
    )


PERSONAL = ", personal"


def by_way(asked: Asked, plan: list[Training]) -> tuple[dict[str, list[BySiteOfFolds]], dict[str, list[BySiteOfFolds]]]:
    """Answers by way and seed: on whole federations, and on the site that was left out."""
    whole: ByWay = {}
    left_out: ByWay = {}

    def put(place: ByWay, way: str, training: Training, answers: BySite) -> None:
        per_seed = place.setdefault(way, [[{} for _ in range(asked.folds)] for _ in asked.seeds])
        per_seed[asked.seeds.index(training.seed)][training.fold - 1].update(answers)

    for training in plan:
        answers = read_answers(training.answers)
        if training.way in ("local", "oracle"):  # a site's own model is compared on the site's own patients
            answers = {name: answers[name] for name in training.merged}
        put(left_out if training.without else whole, training.way, training, answers)
        if training.personal_answers.exists() and not training.without:
            put(whole, f"{training.way}{PERSONAL}", training, read_answers(training.personal_answers))
    for place, folds in enumerate(whole.get("oracle", ())):  # all are compared on patients that no oracle saw
        for fold, oracles in enumerate(folds):
            for per_seed in whole.values():
                answers = per_seed[place][fold]
                shared = {name: one for name, one in oracles.items() if name in answers}
                answers |= {name: only_of(answers[name], one.patients) for name, one in shared.items()}
    return _together(whole), _together(left_out)


ByWay = dict[str, list[list[BySite]]]
"""By way, seed and fold."""


def _together(found: ByWay) -> dict[str, list[BySiteOfFolds]]:
    return {way: [of_folds(folds) for folds in per_seed] for way, per_seed in found.items()}


Histories = dict[str, list[tuple[Training, list[RoundRecord]]]]


def _histories(plan: list[Training]) -> Histories:
    found: Histories = {}
    for training in plan:
        if not training.merged and not training.without:
            records = read_history(training.folder / "rounds.jsonl")
            found.setdefault(training.way, []).append((training, records))
    return found


def _final(histories: Histories, reference: str) -> float | None:
    """Mean over seeds and folds of the reference's validation AUC after its last round."""
    values = [validation_auc(records[-1]) for _, records in histories[reference] if records]
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
