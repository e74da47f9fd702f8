"""Findings of a Mammography CAD SR: regions of single images (TID 4006), under a breast's impression (TID 4003)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from client.explanation.case.cad_document import (
    DCM,
    LIBRARY,
    MODIFIER,
    OPTIONAL,
    PROPERTY,
    Algorithm,
    points_of_any_number,
)
from client.explanation.case.case import CaseBreast
from client.explanation.case.regions import Points, Region
from client.explanation.case.sources import Source, region_name, tracking_uid
from client.explanation.case.sr_items import PERCENT, code, container, number, reference, shape, text, uid_reference


@dataclass(frozen=True)
class Seen:
    """A region, the view that it is on, and their places: of the image in the library, of the region on the view."""

    source: Source
    region: Region
    image: int
    place: int


def regions_of(item: CaseBreast, some: Sequence[Source]) -> Iterator[Seen]:
    """All regions of a breast."""
    for image, source in enumerate(some, 1):
        if source.item is item:
            yield from (Seen(source, region, image, place) for place, region in enumerate(source.regions, 1))


def impression(item: CaseBreast, what: str, algorithm: Algorithm, findings: Sequence[Dataset]) -> Dataset | None:
    """TID 4003 of a breast with its number in per cent; the standard has none without a finding."""
    if not findings:
        return None
    return container(
        DCM.IndividualImpressionRecommendation,
        [
            code(DCM.RenderingIntent, OPTIONAL, MODIFIER),
            text(DCM.ImpressionDescription, what, "CONTAINS"),
            number(DCM.CertaintyOfImpression, 100 * item.score, PERCENT, "CONTAINS"),
            *algorithm.scoring("CONTAINS"),
            *findings,
        ],
        relation="INFERRED FROM",
    )


def finding(
    seen: Seen,
    kind: Code,
    point: int,
    some: Sequence[Source],
    algorithm: Algorithm,
    centre: Points,
    before: Sequence[Dataset] = (),
    after: Sequence[Dataset] = (),
) -> Dataset:
    """TID 4006 of a region.

    Args:
        seen: the region.
        kind: what it is.
        point: from which CAD Operating Point on it is shown.
        some: all views of the study.
        algorithm: that found it.
        centre: ``(1, 2)``.
        before: what stands before its geometry.
        after: and after.
    """
    side, what = seen.source.item.breast.laterality, region_name(seen.source, seen.place)
    image = [reference((*LIBRARY, seen.image), "SELECTED FROM")]
    tracked = tracking_uid(algorithm.published, algorithm.method, some, side, what)
    shown = number(DCM.CADOperatingPoint, point, points_of_any_number(1), PROPERTY)
    return code(
        DCM.SingleImageFinding, kind, "CONTAINS",
        [
            code(DCM.RenderingIntent, OPTIONAL, MODIFIER, [shown]),
            text(DCM.TrackingIdentifier, f"{side} {what}", "HAS OBS CONTEXT"),
            uid_reference(DCM.TrackingUniqueIdentifier, tracked, "HAS OBS CONTEXT"),
            *algorithm.finding(PROPERTY),
            *before,
            shape(DCM.Center, "POINT", centre, PROPERTY, image),
            shape(DCM.Outline, "POLYLINE", seen.region.outline, PROPERTY, image),
            *after,
        ],
    )  # fmt: skip
