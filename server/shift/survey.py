"""Asks the sites what their images and patients look like, and checks what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import RecordDict
from flwr.serverapp import Grid

from common import progress
from common.comparison import DENSITIES, LEVELS, SPACINGS, VIEWS
from common.configuration import TaskConfig, to_yaml
from common.errors import WireError
from common.models.published import PublishedModel
from common.packing import pack
from common.protocol import ShiftReport, ShiftTask
from common.wire import encode
from server.admission import MAXIMUM_PATIENTS, ImpossibleFiguresError, answer
from server.exchange import exchange


@dataclass(frozen=True)
class Survey:
    """What sites told, and why the others told nothing that can be compared."""

    told: dict[str, ShiftReport]
    left_out: dict[str, str]


def survey(
    grid: Grid, nodes: Mapping[str, int], task: TaskConfig, published: PublishedModel | None, seconds: float
) -> Survey:
    """What each site tells; those that refuse, do not answer by the deadline, have too few patients to tell anything,
    or say what cannot be true, are left out by name.

    Args:
        grid: to reach them.
        nodes: by site.
        task: how images are prepared; of the model where there is one.
        published: a classifier whose features the sites are compared by.
        seconds: deadline.
    """
    model = None if published is None else published.model
    content = encode(
        ShiftTask(to_yaml(task), model is not None), None if model is None else pack(dict(model.state_dict()))
    )
    channels = 0 if model is None else model.backbone.channels
    told: dict[str, ShiftReport] = {}
    left_out: dict[str, str] = {}
    for site, reply in exchange(grid, nodes, lambda _: content, "query.shift", "0", seconds):
        try:
            report = shift_told(reply, channels)
        except WireError as error:
            left_out[site] = error.what
            continue
        if report.stored:
            told[site] = report
        else:
            left_out[site] = "it has too few patients to tell anything"
    for site in nodes:
        if site not in told:
            progress.say(f"{site} is left out: {left_out.setdefault(site, f'no answer within {seconds:g} s')}")
    return Survey(
        {site: told[site] for site in nodes if site in told},
        {site: left_out[site] for site in nodes if site in left_out},
    )


def shift_told(reply: RecordDict | WireError, channels: int) -> ShiftReport:
    """Check what a site tells of itself to be compared with others.

    Args:
        reply: of the site.
        channels: of the model's pooled features; 0 where none was sent.

    Raises:
        WireError: malformed message.
        SiteRefusedError, ImpossibleFiguresError: as named.
    """
    report = answer(reply, ShiftReport)
    if not (0 <= report.patients <= report.breasts <= report.images <= 100 * MAXIMUM_PATIENTS):
        raise ImpossibleFiguresError(f"impossible counts: {report.patients} patients, {report.breasts} breasts")
    if report.malignant is not None and not 0 <= report.malignant <= report.breasts:
        raise ImpossibleFiguresError(f"impossible counts: {report.malignant} malignant of {report.breasts} breasts")
    for counts, allowed, most in (
        (report.views, VIEWS | {"OTHER"}, report.images),
        (report.densities, frozenset(DENSITIES), report.breasts),
    ):
        if not set(counts) <= allowed or any(count < 0 for count in counts.values()) or sum(counts.values()) > most:
            raise ImpossibleFiguresError("impossible counts of projections or densities")
    grey = (report.stored, report.standardised, report.prepared)
    spacings = (report.spacing_mm, report.input_spacing_mm)
    for quantiles, size in [*((item, len(LEVELS)) for item in grey), *((item, len(SPACINGS)) for item in spacings)]:
        if quantiles and len(quantiles) != size:
            raise ImpossibleFiguresError(f"{len(quantiles)} quantiles, {size} were asked")
        if not all(map(math.isfinite, quantiles)) or list(quantiles) != sorted(quantiles):
            raise ImpossibleFiguresError("quantiles that are not finite or do not increase")
    if any(not 0.001 <= value <= 100 for item in spacings for value in item):
        raise ImpossibleFiguresError("impossible pixel spacing")
    if (
        len(report.feature_mean) not in (0, channels)
        or len(report.feature_variance) != len(report.feature_mean)
        or not all(map(math.isfinite, [*report.feature_mean, *report.feature_variance]))
        or min(report.feature_variance, default=0.0) < 0
        or not (2 if report.feature_mean else 0) <= report.feature_patients <= report.patients
    ):
        raise ImpossibleFiguresError("impossible statistics of features")
    return report
