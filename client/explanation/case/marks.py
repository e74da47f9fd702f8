"""A detector's marks at this site: from which score on they are shown, and how often such marks were right here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from client.detection.reading import SiteReading, read_images
from client.explanation.case.reliability import nearest
from common.configuration import EvaluationConfig
from common.data.dataset import SiteData
from common.metrics.froc import Marks, ReadImage, mark, threshold_at, without_patient


@dataclass(frozen=True)
class WorkingPoint:
    """From which score on marks are shown, chosen on some images, and what that does there."""

    rate: float
    """False marks an image, at most, that were asked for."""
    threshold: float
    """The lowest score that is shown; infinite where none may be."""
    images: int
    false: int
    """Of the marks that are shown on these images; of all of them where lesions are not known."""
    lesions: int
    found: int
    known: bool
    """Whether lesions are. If not, every mark counts as false: no more than ``rate`` can be."""


@dataclass(frozen=True)
class MarksAlike:
    """The site's marks whose scores lie nearest, and how many of them found a lesion."""

    marks: int
    hits: int
    low: float
    high: float
    """Wilson's 95 % interval of the share."""


@dataclass(frozen=True)
class SiteMarks:
    """All marks on the site's test images whose lesions are known; where none are, on all of its test images."""

    marks: Marks
    patients: tuple[str, ...]
    """Whose images they are, in the order of ``marks.owner``."""
    known: bool

    def without(self, patient: str) -> SiteMarks:
        """Those of the others: what she has must not speak for her marks."""
        if patient not in self.patients:
            return self
        return replace(self, marks=without_patient(self.marks, self.patients.index(patient)))

    def working_point(self, rate: float) -> WorkingPoint:
        """The lowest score that lets at most ``rate`` false marks an image through on these images."""
        threshold = threshold_at(self.marks, rate) if self.marks.images.any() else np.inf
        shown = self.marks.scores >= threshold
        return WorkingPoint(
            rate, threshold, int(self.marks.images.sum()), int(self.marks.false[shown].sum()),
            int(self.marks.lesions.sum()), int(self.marks.lesion[shown].sum()), self.known,
        )  # fmt: skip

    def alike(self, score: float) -> MarksAlike | None:
        """The marks nearest in score; None where lesions are not known, or there is no mark.

        A second mark of a lesion counts as one that found none, as it does in FROC.
        """
        found = nearest(self.marks.scores, self.marks.lesion > 0, score) if self.known else None
        return None if found is None else MarksAlike(*found)


def site_marks(data: SiteData, reading: SiteReading, config: EvaluationConfig) -> SiteMarks:
    """Compare the detections on a site's test images with its lesions.

    Args:
        data: of the site.
        reading: all its detections.
        config: for the hit rule.
    """
    tested = [view for view in reading.views if data.breasts[view.breast].split == "test"]
    images = read_images(data, tested)
    known = bool(images)
    if not known:
        nothing = np.empty((0, 4))
        images = [
            ReadImage(data.breasts[view.breast].patient_id, data.breasts[view.breast].key, view.boxes, view.scores,
                      nothing) for view in tested
        ]  # fmt: skip
    patients = tuple(sorted({image.patient for image in images}))
    return SiteMarks(mark(images, config.hit_rule, config.hit_overlap), patients, known)
