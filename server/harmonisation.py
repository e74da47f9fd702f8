"""Before the first round: the scale that the images of all sites are brought to, the mean of what sites send."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from flwr.app import RecordDict

from common import progress
from common.atomic import write_text
from common.configuration import task_of, to_yaml
from common.configuration.standard_scale import check_scale
from common.data.scale import awaits_scale
from common.errors import QuorumError, WireError
from common.protocol import ScaleReport, ScaleTask
from common.wire import encode
from server.admission import MAXIMUM_PATIENTS, ImpossibleFiguresError, answer
from server.exchange import exchange, required, wait_for_quorum
from server.federated_run import Federation

LARGEST = 1000.0
"""Landmarks are spreads of the tissue; no picture reaches so far."""
FILE = "harmonisation.json"


def with_scale(federation: Federation) -> Federation:
    """The federation with ``imaging.standard_scale`` settled, which is written to the run's ``config.yaml``.

    A run whose images need no scale, or that has it already (it is resumed), is left as it is.

    Raises:
        QuorumError: fewer than a quorum of the sites sent their part.
        StorageError: it cannot be written.
    """
    config, folder = federation.config, federation.folder
    if not awaits_scale(config.imaging):
        return federation
    parts = _ask(federation)
    scale = mean_scale({site: part.values for site, part in parts.items()})
    config = replace(config, imaging=replace(config.imaging, standard_scale=scale))
    told = {site: {"patients": part.patients, "images": part.images} for site, part in sorted(parts.items())}
    note = {"harmonisation": config.imaging.harmonisation, "standard_scale": scale, "sites": told}
    write_text(folder / FILE, json.dumps(note, indent=1))
    write_text(folder / "config.yaml", to_yaml(config))  # last: with it the scale is settled
    return replace(federation, config=config)


def mean_scale(parts: dict[str, list[float]]) -> list[float]:
    """Mean over sites, each of the same weight, whatever their order.

    Args:
        parts: numbers of each site, as many of each.
    """
    return [math.fsum(numbers) / len(numbers) for numbers in zip(*parts.values(), strict=True)]


def _ask(federation: Federation) -> dict[str, ScaleReport]:
    config, limits = federation.config, federation.config.federation
    nodes = wait_for_quorum(
        federation.grid, config.sites, limits.quorum, limits.joining_seconds, limits.deadline_seconds
    )
    content = encode(ScaleTask(to_yaml(task_of(config))))
    parts: dict[str, ScaleReport] = {}
    for site, reply in exchange(federation.grid, nodes, lambda _: content, "query.scale", "0", limits.deadline_seconds):
        try:
            part = scale_told(reply, config.imaging.harmonisation)
        except WireError as error:
            progress.say(f"{site} has no part in the scale of grey values: {error.what}")
            continue
        if part.values:
            parts[site] = part
        else:
            progress.say(f"{site} has no part in the scale of grey values: it has too few patients to tell")
    needed = required(limits.quorum, len(config.sites))
    if len(parts) < needed:
        missing = ", ".join(site for site in config.sites if site not in parts)
        raise QuorumError(
            f"{len(parts)} of {len(config.sites)} sites told what their images look like, {needed} are needed",
            where=f"missing: {missing}",
            do="mend those sites and resume, lower federation.quorum, or choose another imaging.harmonisation",
        )
    return parts


def scale_told(reply: RecordDict | WireError, method: str) -> ScaleReport:
    """Check a site's part of the scale of ``landmarks`` or ``amplitude``; it may hold nothing.

    Raises:
        WireError: malformed message.
        SiteRefusedError, ImpossibleFiguresError: as named.
    """
    report = answer(reply, ScaleReport)
    if not (0 <= report.patients <= report.images <= 100 * MAXIMUM_PATIENTS):
        raise ImpossibleFiguresError(f"impossible counts: {report.patients} patients, {report.images} images")
    if report.values:
        try:
            check_scale(method, report.values)
        except ValueError as error:
            raise ImpossibleFiguresError(str(error)) from error
        if report.patients < 1 or max(map(abs, report.values)) > LARGEST:
            raise ImpossibleFiguresError("a scale of no patients, or far beyond what a network sees")
    return report
