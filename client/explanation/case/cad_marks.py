"""A detector's case as a Mammography CAD SR: each mark is a density of a single image, and points are those of FROC.

A mark is a *Mammography breast density* (TID 4006, 4011) with the detector's certainty of it in per cent, its centre
and its box. Which marks a workstation shows is told by CAD Operating Points (TID 4023): so many false marks an image on
this site's other test images, and the share of their lesions that is found so. None is shown unasked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

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
from client.explanation.case.cad_findings import finding, impression, regions_of
from client.explanation.case.case import CaseBreast
from client.explanation.case.marks import SiteMarks, WorkingPoint
from client.explanation.case.sources import Source
from client.explanation.case.sr_items import PERCENT, number
from common.metrics.froc import RATES
from common.models.published import PublishedDetector

DENSITY = codes.cid6014.MammographyBreastDensity
PER_IMAGE = Code("{marks}/{image}", "UCUM", "marks per image")


def points_of(others: SiteMarks, rate: float) -> list[WorkingPoint]:
    """CAD Operating Points 1, 2, ...: of the usual rates those below the report's, and the report's own."""
    return [others.working_point(lower) for lower in RATES if lower < rate] + [others.working_point(rate)]


def cad_marks_report(
    some: Sequence[Source],
    published: PublishedDetector,
    points: Sequence[WorkingPoint],
    method: str,
    number_of_series: int,
) -> Dataset:
    """The report of one study.

    Args:
        some: all views of the study.
        published: the detector.
        points: operating points 1, 2, ..., the strictest first; marks are those of the last.
        method: of the maps; part of the name under which a mark is tracked.
        number_of_series: of its series.
    """
    algorithm = Algorithm(published, method, "mass detector", "mass detector")
    breasts = list(dict.fromkeys(source.item for source in some))
    found = [one for item in breasts if (one := _impression(item, some, points, algorithm)) is not None]
    scores = ", ".join(f"{SIDE_NAMES[item.breast.laterality]} breast {item.score:.2f}" for item in breasts)
    overall = f"Score, 0 to 1 and no probability, that a mass detector gave: {scores}. {UNVERIFIED}"
    rows = [operating_point(0, "No mark is shown.")]
    rows += [_operating_point(at, point) for at, point in enumerate(points, 1)]
    axes = (DCM.FalseMarkersPerImage, DCM.LesionSensitivity)
    detection = detection_performed(some, DENSITY, algorithm, axes, rows)
    return cad_document(some, algorithm, overall, found, detection, [str(point) for point in points], number_of_series)


def _impression(
    item: CaseBreast, some: Sequence[Source], points: Sequence[WorkingPoint], algorithm: Algorithm
) -> Dataset | None:
    marks = []
    for seen in regions_of(item, some):
        score = seen.region.peak
        point = next((at for at, one in enumerate(points, 1) if score >= one.threshold), len(points))
        centre = (seen.region.outline[:1] + seen.region.outline[2:3]) / 2  # of opposite corners
        certainty = number(DCM.CertaintyOfFinding, 100 * score, PERCENT, PROPERTY)
        marks.append(finding(seen, DENSITY, point, some, algorithm, centre, before=[certainty]))
    what = f"Masses of the {SIDE_NAMES[item.breast.laterality]} breast, as a network sees them. {UNVERIFIED}"
    return impression(item, what, algorithm, marks)


def _operating_point(at: int, point: WorkingPoint) -> Dataset:
    if not point.images:
        return operating_point(at, "No working point: this site has no test images of other patients.")
    if math.isinf(point.threshold):
        return operating_point(at, f"No mark: already the surest one would make more than {point.rate:g} an image.")
    asked = f"Marks from the score on at which at most {point.rate:g} an image"
    of_images = f"on the {point.images} test images of this site's other patients"
    if not point.known:
        return operating_point(at, f"{asked} are shown, right or wrong, {of_images}, whose lesions are not known.")
    description = (
        f"{asked} are false {of_images}: {point.threshold:.3g}. There {point.found} of {point.lesions} lesions are "
        f"marked, with {point.false} false marks."
    )
    values = [number(DCM.FalseMarkersPerImage, point.false / point.images, PER_IMAGE, PROPERTY)]
    if point.lesions:
        values.append(number(DCM.LesionSensitivity, 100 * point.found / point.lesions, PERCENT, PROPERTY))
    return operating_point(at, description, values)
