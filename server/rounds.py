"""The round loop: send the model, fold the updates in as they arrive, save, validate, repeat."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from flwr.app import RecordDict

from common import progress
from common.configuration import RunConfig, task_of, to_yaml
from common.control_variates import beside
from common.errors import CheckpointError, QuorumError, WireError
from common.packing import Tensors, pack
from common.protocol import EvaluateTask, EvaluationReport, TrainTask
from common.wire import encode
from server import checkpoint as checkpoints
from server.admission import Admitted, admit, evaluated
from server.aggregation.optimizer import OptimizerState, step
from server.checkpoint import Checkpoint
from server.combination import Combination
from server.exchange import exchange, required, wait_for_quorum
from server.federated_run import Federation
from server.history import (
    ExplanationFigures,
    Quarantined,
    RoundRecord,
    SiteTraining,
    SiteValidation,
    best_round,
    last_accepted,
    read_history,
    write_history,
)
from server.norms import judged, yardstick

__all__ = ["Federation", "evaluate", "run_rounds"]


def run_rounds(federation: Federation, initial: Tensors) -> list[RoundRecord]:
    """Train from the last checkpoint (or ``initial``) to the last round; returns all records.

    Raises:
        QuorumError: too few good replies in a round; what was done before is saved and can be resumed.
        CheckpointError: the folder's checkpoints do not fit its configuration or its history.
        StorageError: a checkpoint cannot be written; earlier ones are intact.
    """
    config, folder = federation.config, federation.folder
    records, current = _restore(federation, initial)
    rounds = config.federation.rounds
    with progress.track("rounds", rounds) as advance:
        advance(len([record for record in records if record.validated]))
        if records and not records[-1].validated:
            _validate(federation, current.model, records)
            advance(1)
        for number in range(len(records) + 1, rounds + 1):
            current = _train_round(federation, current, records, number)
            checkpoints.save(folder, current, config)
            records.append(current.record)
            write_history(federation.history_file, records)
            _validate(federation, current.model, records)
            checkpoints.prune(folder, config.federation.keep_checkpoints, _best(config, records))
            advance(1)
    return records


def _best(config: RunConfig, records: list[RoundRecord]) -> int:
    return best_round(records, config.federation.selection)[0]


def _restore(federation: Federation, initial: Tensors) -> tuple[list[RoundRecord], Checkpoint]:
    folder, config = federation.folder, federation.config
    saved = checkpoints.saved_rounds(folder)
    if not saved:
        return [], Checkpoint(initial, OptimizerState(), RoundRecord(0))
    current = checkpoints.load(checkpoints.path_of(folder, saved[-1]), config)
    records = read_history(federation.history_file)[: saved[-1]]
    if len(records) == saved[-1] - 1:  # killed between checkpoint and history
        records.append(current.record)
    if [record.round for record in records] != list(range(1, saved[-1] + 1)):
        raise CheckpointError(
            f"rounds.jsonl does not lead up to checkpoint {saved[-1]}",
            where=str(federation.history_file),
            do="restore it from a backup, or start a new run in another folder",
        )
    progress.say(f"resuming after round {saved[-1]} of {config.federation.rounds}")
    return records, current


def _train_round(federation: Federation, current: Checkpoint, earlier: list[RoundRecord], number: int) -> Checkpoint:
    config = federation.config
    limits, method = config.federation, config.method
    begun = time.monotonic()
    forbidding = {item.site for item in federation.left_out}
    asked = [site for site in config.sites if site not in forbidding]
    share = required(limits.quorum, len(config.sites)) / max(1, len(asked))
    nodes = wait_for_quorum(federation.grid, asked, share, limits.joining_seconds, limits.deadline_seconds)
    best = _best(config, earlier) if earlier else 0
    task = TrainTask(
        to_yaml(task_of(config)), number, limits.rounds, config.seed, limits.wire_dtype, federation.identity
    )
    combination = Combination(federation, current, earlier, number)
    packed = pack(beside(current.model, combination.variate))
    record = RoundRecord(number, bytes_sent=packed.nbytes * len(nodes))
    record.quarantined += federation.left_out

    def content(site: str) -> RecordDict:
        state = replace(task, continues=last_accepted(earlier, site), keeps=last_accepted(earlier[:best], site))
        return encode(state, packed)

    def read(reply: RecordDict | WireError) -> Admitted:
        least, unit = 1 if combination.variate else 0, config.privacy.unit
        return admit(reply, current.model, limits.wire_dtype, limits.maximum_update_norm, number, unit, least)

    replies = exchange(federation.grid, nodes, content, "train", str(number), limits.deadline_seconds)
    measure = yardstick(earlier, limits.maximum_norm_ratio)
    for site, good in judged(replies, read, measure, federation.folder / "waiting", config.sites):
        if isinstance(good, WireError):
            record.quarantined.append(Quarantined(site, type(good).__name__, good.what))
            progress.say(f"round {number}: reply of {site} put into quarantine: {good.what}")
            continue
        record.bytes_received += good.bytes
        report = good.report
        weight = combination.add(site, good)
        record.train[site] = SiteTraining(
            report.patients,
            report.breasts,
            report.malignant,
            report.steps,
            report.loss,
            report.seconds,
            good.norm,
            weight,
            report.privacy,
            report.own_loss,
        )
    refused = {item.site for item in record.quarantined}
    record.missing = [site for site in config.sites if site not in record.train and site not in refused]
    _require_quorum(record, limits.quorum, len(config.sites))
    done = combination.finish()
    record.train = {  # in the order of the configuration, whoever answered first
        name: replace(record.train[name], weight=done.shares[name]) for name in config.sites if name in record.train
    }
    model, optimizer = step(
        current.model,
        done.update,
        current.optimizer,
        rule=method.server_optimizer,
        learning_rate=method.server_learning_rate,
        momentum=method.server_momentum,
        trained=federation.trained,
        beta2=method.server_second_moment,
        tau=method.server_tau,
    )
    record.seconds = time.monotonic() - begun
    return Checkpoint(model, optimizer, record, done.variate, combination.weights)


def _require_quorum(record: RoundRecord, quorum: float, sites: int) -> None:
    needed = required(quorum, sites)
    if len(record.train) >= needed:
        return
    reasons = [f"{item.site}: {item.meaning}" for item in record.quarantined]
    reasons += [f"{site}: no answer" for site in record.missing]
    raise QuorumError(
        f"round {record.round}: {len(record.train)} good replies of {sites} sites, {needed} are needed",
        where="; ".join(reasons),
        do="mend the sites named above (each site's own log says more), then resume: earlier rounds are saved",
    )


def evaluate(
    federation: Federation,
    model: Mapping[str, torch.Tensor],
    sites: list[str],
    task: EvaluateTask,
    records: Sequence[RoundRecord],
) -> tuple[dict[str, EvaluationReport], list[Quarantined]]:
    """Let ``sites`` measure ``model``; returns their reports and the replies that were no good.

    Args:
        federation: whose sites they are.
        model: of the round ``task.round``.
        sites: that are asked.
        task: what is asked.
        records: of the rounds up to that one: they tell which state of a site belongs to the model.
    """
    limits = federation.config.federation
    nodes = wait_for_quorum(federation.grid, sites, limits.quorum, limits.joining_seconds, limits.deadline_seconds)
    packed = pack(model)
    reports: dict[str, EvaluationReport] = {}
    bad: list[Quarantined] = []

    def content(site: str) -> RecordDict:
        return encode(replace(task, run=federation.identity, continues=last_accepted(records, site)), packed)

    answers = exchange(federation.grid, nodes, content, "evaluate", str(task.round), limits.deadline_seconds)
    for site, reply in answers:
        try:
            reports[site] = evaluated(reply, task.round)
        except WireError as error:
            bad.append(Quarantined(site, type(error).__name__, error.what))
            progress.say(f"evaluation of {site} put into quarantine: {error.what}")
    return {site: reports[site] for site in sites if site in reports}, bad


def _validate(federation: Federation, model: Tensors, records: list[RoundRecord]) -> None:
    config, record = federation.config, records[-1]
    begun = time.monotonic()
    every = config.evaluation.explain_every
    explain = bool(every) and record.round % every == 0
    task = EvaluateTask(to_yaml(task_of(config)), record.round, config.seed, "validation", explain=explain)
    reports, bad = evaluate(federation, model, config.sites, task, records)
    record.validation = {
        site: SiteValidation(
            report.auc.value,
            report.loss,
            report.breasts,
            report.malignant,
            report.froc.mean_per_lesion.value if report.froc else None,
            {
                method: ExplanationFigures(
                    score.pointing_game.value, score.energy_in_box.value, score.randomised.value, score.views
                )
                for method, score in report.explanations.items()
            },
            report.personal.auc.value if report.personal else None,
        )
        for site, report in reports.items()
    }
    record.quarantined += bad
    record.seconds += time.monotonic() - begun
    record.validated = True
    write_history(federation.history_file, records)
    progress.say(_line(record, config.federation.rounds))


def _line(record: RoundRecord, rounds: int) -> str:
    loss = sum(site.loss * site.weight for site in record.train.values())
    measure = "FROC" if any(site.froc is not None for site in record.validation.values()) else "AUC"
    figures = "  ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}"
        for name, site in record.validation.items()
        for value in [site.froc if measure == "FROC" else site.auc]
    )
    late = f"  no reply in time: {', '.join(record.missing)}" if record.missing else ""
    head = f"round {record.round}/{rounds}  loss {loss:.3f}  validation {measure}"
    return f"{head}  {figures}  ({record.seconds:.0f} s){late}"
