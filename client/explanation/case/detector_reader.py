"""Case reports of a detector: its marks on each view, and what makes it sure of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from client.detection.reading import read_site
from client.evaluation import probabilities
from client.explanation.case.cad_marks import cad_marks_report, points_of
from client.explanation.case.choice import Exam, worst_marked
from client.explanation.case.classifier_reader import explainer
from client.explanation.case.dicom import dicom_objects
from client.explanation.case.marked import Marking, make_marked_case
from client.explanation.case.marked_page import render
from client.explanation.case.marks import SiteMarks, site_marks
from client.explanation.case.pictures import pictures_of
from client.explanation.case.reader import labels, report_files
from client.explanation.case.shelf import Record
from client.explanation.case.sources import marked_sources
from client.explanation.case.terms import detector_terms
from client.explanation.detected import CLASSIFIERS_ONLY, require_classifier
from client.site import Site, load_site
from common.models.published import PublishedDetector

METHODS = ("hirescam", "layercam", "gradcam")
FALSE_MARKS = 0.5
"""False marks an image at which marks are shown unless another rate is asked for: two on an exam of four views."""


class DetectorReader:
    """See :class:`client.explanation.case.reader.Reader`.

    It reads in float32 whatever the model was trained in, so that one mark has one score on page, index and object.
    """

    def __init__(
        self, site: Site, published: PublishedDetector, methods: Sequence[str], false_marks: float | None = None
    ) -> None:
        self.site, self.published, self.methods = site, published, tuple(methods or METHODS)
        self.false_marks = FALSE_MARKS if false_marks is None else false_marks
        for method in self.methods:
            if method in CLASSIFIERS_ONLY:
                require_classifier(published.model, method, where="--method")
        task = published.task
        self.data = load_site(site, task)
        exact = replace(task, training=replace(task.training, precision="fp32"))
        self._reading = read_site(published.model, self.data, exact, f"{site.name}: marks")
        self._marks = site_marks(self.data, self._reading, task.evaluation)
        self._explainers = {method: explainer(method, torch.empty(0, 1, 1, 1)) for method in self.methods}

    def worst(self, number: int) -> list[Exam]:
        """By turns one with the most surely missed lesion, and one with the surest false mark."""
        return worst_marked(self.data, self._reading, self.published.task.evaluation, number)

    def record(self, exam: Exam) -> Record:
        """With the highest score of a breast, and the number of marks that are shown."""
        threshold = self._others(exam).working_point(self.false_marks).threshold
        shown = [view.scores >= threshold for view in self._reading.views if view.breast in exam.breasts]
        highest = float(probabilities(self._reading.logits[list(exam.breasts)]).max())
        return Record(
            exam.patient_id, exam.exam_id, labels(self.data, exam), highest, self.published.digest, self.methods,
            self.false_marks, sum(int(np.count_nonzero(one)) for one in shown),
        )  # fmt: skip

    def report(self, exam: Exam) -> Iterator[tuple[str, bytes]]:
        """Explain an exam."""
        others, first = self._others(exam), self.methods[0]
        point = others.working_point(self.false_marks)
        marking = Marking(self.published, self.data, self._reading)
        case = make_marked_case(marking, self._explainers, exam, point.threshold, seed=0)
        pictures = pictures_of(case, first)
        points = points_of(others, self.false_marks)
        cad = partial(cad_marks_report, published=self.published, points=points, method=first)
        terms = detector_terms(first, point)
        objects = dicom_objects(list(marked_sources(case, first)), self.published, first, pictures, terms, cad)
        page = render(case, self.site.name, self.published, others, point, self.methods)
        return report_files(pictures, objects, page)

    def _others(self, exam: Exam) -> SiteMarks:
        return self._marks.without(exam.patient_id)
