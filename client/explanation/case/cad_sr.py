"""A case as a Mammography CAD SR (PS3.3 A.35.5), which mammography workstations know; PS3.16 TID 4000 and those below.

The network finds no densities, it scores a breast. So a hot region of its map is a *Selected region* with a description
(TID 4013), for which the standard knows no probability, and the score is the breast's impression (TID 4002). Which
breasts' regions a workstation shows is told by CAD Operating Points (TID 4023). None is shown unasked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from client.explanation.case.cad_document import (
    DCM,
    PROPERTY,
    SIDE_NAMES,
    UNVERIFIED,
    Algorithm,
    cad_document,
    detection_performed,
    operating_point,
)
from client.explanation.case.cad_findings import Seen, finding, impression, regions_of
from client.explanation.case.case import CaseBreast
from client.explanation.case.page import per_cent
from client.explanation.case.regions import HOT, Points
from client.explanation.case.reliability import Reliability
from client.explanation.case.sources import Source
from client.explanation.case.sr_items import PERCENT, number, text
from common.models.published import PublishedModel

THRESHOLDS = (0.5, 0.1, 0.0)
"""CAD Operating Points 1, 2, ...: regions are shown of breasts of this probability and above; at point 0 of none."""
REGION = codes.cid6014.SelectedRegion


def cad_report(
    some: Sequence[Source], published: PublishedModel, method: str, others: Reliability, number_of_series: int
) -> Dataset:
    """The report of one study.

    Args:
        some: all views of the study.
        published: the model.
        method: whose hot regions.
        others: scores of other patients at this site, which say what an operating point means there.
        number_of_series: of its series.
    """
    algorithm = Algorithm(published, method, "breast classifier", f"{method} of a breast classifier")
    breasts = list(dict.fromkeys(source.item for source in some))
    found = [one for item in breasts if (one := _impression(item, some, algorithm)) is not None]
    scores = ", ".join(f"{SIDE_NAMES[item.breast.laterality]} breast {per_cent(item.score)}" for item in breasts)
    overall = f"Probability of malignancy that a network gave: {scores}. {UNVERIFIED}"
    points = [operating_point(0, "No region is shown.")]
    points += [_operating_point(at, least, others) for at, least in enumerate(THRESHOLDS, 1)]
    axes = (DCM.ProbabilityOfCancer, DCM.CaseSpecificity)
    detection = detection_performed(some, REGION, algorithm, axes, points)
    key = [str(_reached(least, others)) for least in THRESHOLDS]
    return cad_document(some, algorithm, overall, found, detection, key, number_of_series)


def _impression(item: CaseBreast, some: Sequence[Source], algorithm: Algorithm) -> Dataset | None:
    point = next(at for at, least in enumerate(THRESHOLDS, 1) if item.score >= least)
    regions = [
        finding(
            seen, REGION, point, some, algorithm, centroid(seen.region.outline), after=[_description(seen, algorithm)]
        )
        for seen in regions_of(item, some)
    ]
    what = f"Malignancy of the {SIDE_NAMES[item.breast.laterality]} breast, as a network sees it. {UNVERIFIED}"
    return impression(item, what, algorithm, regions)


def _description(seen: Seen, algorithm: Algorithm) -> Dataset:
    """TID 4013."""
    description = (
        f"Where {algorithm.method} says that the network looked: up to {100 * seen.region.peak:.0f} % of the map's "
        f"maximum over the breast's views, at least {100 * HOT:.0f} % of it inside the outline."
    )
    return text(DCM.SelectedRegionDescription, description, PROPERTY)


def _operating_point(at: int, least: float, others: Reliability) -> Dataset:
    """Its specificity is the share of other breasts of this site of which nothing is shown."""
    malignant, other = _reached(least, others)
    description = (
        f"Regions of breasts whose probability of malignancy is {100 * least:.0f} % or more. Of this site's test "
        f"breasts {malignant[0]} of {malignant[1]} malignant and {other[0]} of {other[1]} others have it, this patient "
        "left out; the specificity counts breasts, not exams."
    )
    values = [number(DCM.ProbabilityOfCancer, 100 * least, PERCENT, PROPERTY)]
    if other[1]:
        values.append(number(DCM.CaseSpecificity, 100 * (1 - other[0] / other[1]), PERCENT, PROPERTY))
    return operating_point(at, description, values)


def _reached(least: float, others: Reliability) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many of the site's other malignant breasts, and of its others, have this probability or more; of how many."""
    malignant, other = (
        (int(np.count_nonzero(scores >= least)), len(scores)) for scores in (others.malignant, others.others)
    )
    return malignant, other


def centroid(outline: Points) -> Points:
    """Middle of the area inside a closed outline ``(N, 2)``, as ``(1, 2)``."""
    ahead = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * ahead[:, 1] - ahead[:, 0] * outline[:, 1]
    middle: Points = ((outline + ahead) * cross[:, None]).sum(axis=0, keepdims=True) / (3 * cross.sum())
    return middle
