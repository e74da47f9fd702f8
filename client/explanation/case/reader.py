"""What writes case reports asks of a model: a classifier's reader and a detector's answer it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pydicom.dataset import Dataset

from client.explanation.case.choice import Exam
from client.explanation.case.dicom import Written
from client.explanation.case.shelf import Record
from client.explanation.explainers import EXPLAINERS
from common.configuration.naming import nearest
from common.data.dataset import SiteData
from common.errors import CaseError
from common.models.published import PublishedDetector, PublishedModel

REPORT, DICOM = "report.html", "dicom"


class Reader(Protocol):
    """A published model that has read all exams of a site."""

    @property
    def data(self) -> SiteData:
        """Of the site."""
        ...

    @property
    def published(self) -> PublishedModel | PublishedDetector:
        """The model."""
        ...

    def worst(self, number: int) -> list[Exam]:
        """So many test exams, at most, in which the model erred most, the worst first."""
        ...

    def record(self, exam: Exam) -> Record:
        """What a report of this exam would be of."""
        ...

    def report(self, exam: Exam) -> Iterator[tuple[str, bytes]]:
        """All files of a report, made one after the other: path in its folder and content.

        Raises:
            UnreadableImageError: an original image is gone since it was prepared.
        """
        ...


def report_files(pictures: Mapping[str, bytes], objects: Iterable[Written], page: str) -> Iterator[tuple[str, bytes]]:
    """Pictures, DICOM objects and the page as files; one DICOM object is in memory at a time.

    Args:
        pictures: PNG of each view by name.
        objects: made one after the other.
        page: HTML.
    """
    for name, picture in pictures.items():
        yield f"{name}.png", picture
    for made in objects:
        yield f"{DICOM}/{made.name}", _file(made.dataset)
    yield REPORT, page.encode()


def _file(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def labels(data: SiteData, exam: Exam) -> str:
    """What is recorded of an exam's breasts."""
    breasts = [data.breasts[index] for index in exam.breasts]
    return ", ".join(f"{breast.laterality} {breast.label}" for breast in breasts)


def require_known(methods: Sequence[str]) -> None:
    """Refuse names that no explainer has.

    Raises:
        CaseError: there is one; the nearest name is suggested.
    """
    for method in methods:
        if method not in EXPLAINERS:
            guess = nearest(method, list(EXPLAINERS))
            raise CaseError(
                f"there is no explainer '{method}'",
                where="--method",
                do=(f"did you mean '{guess}'? " if guess else "") + f"known: {', '.join(EXPLAINERS)}",
            )
