"""Case reports of a classifier: the probability of each breast, and where it looked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np
import torch

from client.evaluation import probabilities
from client.explanation.background import choose_background
from client.explanation.case.cad_sr import cad_report
from client.explanation.case.case import Maps, make_case
from client.explanation.case.choice import Exam, worst
from client.explanation.case.dicom import dicom_objects
from client.explanation.case.page import render
from client.explanation.case.pictures import pictures_of
from client.explanation.case.reader import labels, report_files
from client.explanation.case.reliability import Reliability
from client.explanation.case.shelf import Record
from client.explanation.case.sources import sources
from client.explanation.case.terms import classifier_terms
from client.explanation.detected import Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.sanity import Explain
from client.inference import Logits, predict
from client.site import Site, load_site
from common.data.dataset import SiteData
from common.models.published import PublishedModel

METHODS = ("hirescam", "gradcam", "shap")


class ClassifierReader:
    """See :class:`client.explanation.case.reader.Reader`."""

    def __init__(self, site: Site, published: PublishedModel, methods: Sequence[str]) -> None:
        self.site, self.published, self.methods = site, published, tuple(methods or METHODS)
        self.data = load_site(site, published.task)
        self.logits = predict(published.model, self.data, published.task.training, f"{site.name}: scores")

    def worst(self, number: int) -> list[Exam]:
        """Those with the largest cross-entropy of a breast."""
        return worst(self.data, self.logits, number)

    def record(self, exam: Exam) -> Record:
        """With the highest probability of a breast."""
        highest = float(_chances(self.logits[list(exam.breasts)], self.published).max())
        return Record(
            exam.patient_id, exam.exam_id, labels(self.data, exam), highest, self.published.digest, self.methods
        )

    def report(self, exam: Exam) -> Iterator[tuple[str, bytes]]:
        """Explain an exam."""
        case, first = make_case(self.published, self._explainers, self.data, exam, seed=0), self.methods[0]
        pictures = pictures_of(case, first)
        others = reliability_without(case.patient_id, self.data, self.logits, self.published)
        cad = partial(cad_report, published=self.published, method=first, others=others)
        objects = dicom_objects(
            list(sources(case, first)), self.published, first, pictures, classifier_terms(first), cad
        )
        return report_files(pictures, objects, render(case, self.site.name, self.published, others, self.methods))

    @cached_property
    def _explainers(self) -> dict[str, Explain]:
        size = self.published.task.evaluation.background
        background = choose_background(self.data.of_split("train"), size, seed=0)
        return {method: explainer(method, background) for method in self.methods}


def explainer(method: str, background: torch.Tensor) -> Explain:
    """An explainer by name, beside a background."""

    def explain(model: Explained, images: torch.Tensor) -> Maps:
        return EXPLAINERS[method](model, images, background).maps

    return explain


def _chances(logits: Logits, published: PublishedModel) -> Logits:
    return probabilities(logits + published.prior_log_odds)


def reliability_without(patient: str, data: SiteData, logits: Logits, published: PublishedModel) -> Reliability:
    """Scores of the site's test patients but one: what happened to herself must not speak for her score."""
    tested = np.array([breast.split == "test" and breast.patient_id != patient for breast in data.breasts])
    chances, malignant = _chances(logits, published), data.targets == 1
    return Reliability(chances[tested & malignant], chances[tested & ~malignant])
