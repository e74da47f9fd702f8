"""The originals of a case, with what their DICOM objects share: hot regions, UIDs, who made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid

from client.explanation.case.case import Case, CaseBreast, CaseView
from client.explanation.case.regions import Region, hot_regions, outline_of
from common.code import software_version
from common.models.published import PublishedDetector, PublishedModel

MAKER, PRODUCT = "xai-federation", "case report"


@dataclass(frozen=True)
class Source:
    """A view, its original, and its regions: where the report's first method is hot, or a detector's marks."""

    item: CaseBreast
    view: CaseView
    original: Dataset
    maximum: float
    regions: tuple[Region, ...]
    number: int
    called: str = "region"
    """What a region is called where it is tracked."""


def sources(case: Case, method: str) -> Iterator[Source]:
    """All views of a classifier's case whose originals are DICOM files."""
    for item, number, view, original in _originals(case):
        maximum = max(float(view.found[method].max(initial=0.0)) for view in item.views)
        regions = tuple(hot_regions(view.found[method], view.geometry, maximum))
        yield Source(item, view, original, maximum, regions, number)


def marked_sources(case: Case, method: str) -> Iterator[Source]:
    """The same of a detector's case: regions are its marks, and each view's map is of the surest one."""
    for item, number, view, original in _originals(case):
        maximum = float(view.found[method].max(initial=0.0))
        regions = tuple(Region(outline_of(mark.box), mark.score) for mark in view.marks)
        yield Source(item, view, original, maximum, regions, number, "mark")


def _originals(case: Case) -> Iterator[tuple[CaseBreast, int, CaseView, Dataset]]:
    for item in case.breasts:
        for number, view in enumerate(item.views, 1):
            try:
                yield item, number, view, pydicom.dcmread(view.file)
            except InvalidDicomError:
                continue


def uid(published: PublishedModel | PublishedDetector, method: str, *parts: str) -> str:
    """A UID that the same model, program, method and parts give again."""
    return str(generate_uid(entropy_srcs=[published.digest, software_version(), method, *parts]))


def instances(some: Sequence[Source]) -> list[str]:
    """SOP Instance UIDs of the originals."""
    return [str(source.original.SOPInstanceUID) for source in some]


def region_name(source: Source, place: int) -> str:
    """What tracks a region of a view, counted from 1, in every report."""
    return f"{source.view.view} {source.number} {source.called} {place}"


def tracking_uid(
    published: PublishedModel | PublishedDetector, method: str, some: Sequence[Source], side: str, what: str
) -> str:
    """The same in every report of these originals."""
    return uid(published, method, *instances(some), side, what)


def shortened(text: str) -> str:
    """For a Long String (PS3.5 6.2)."""
    return text[:64]
