"""Which exams are explained: by name, by image file, or those that the model judged worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from client.detection.reading import SiteReading
from client.inference import Logits
from common.configuration import EvaluationConfig
from common.configuration.naming import nearest
from common.data.dataset import SiteData
from common.errors import CaseError
from common.metrics.hits import hits


@dataclass(frozen=True)
class Exam:
    """An exam of a patient: the places of its breasts in the site's data."""

    patient_id: str
    exam_id: str
    breasts: tuple[int, ...]


def exams(data: SiteData) -> list[Exam]:
    """All exams, in the order of their first breasts."""
    members: dict[tuple[str, str], list[int]] = {}
    for index, breast in enumerate(data.breasts):
        members.setdefault((breast.patient_id, breast.exam_id), []).append(index)
    return [Exam(patient, exam, tuple(breasts)) for (patient, exam), breasts in members.items()]


def named(data: SiteData, wanted: Sequence[str]) -> list[Exam]:
    """Exams by exam identifier, patient identifier (all her exams) or image file of the manifest.

    Raises:
        CaseError: nothing of that name; the nearest is suggested.
    """
    found: dict[Exam, None] = {}
    every = exams(data)
    for name in wanted:
        file = Path(name).resolve()
        fitting = [
            exam
            for exam in every
            if name in (exam.exam_id, exam.patient_id)
            or any(view.file.resolve() == file for index in exam.breasts for view in data.breasts[index].views)
        ]
        if not fitting:
            guess = nearest(name, sorted({word for exam in every for word in (exam.exam_id, exam.patient_id) if word}))
            raise CaseError(
                f"{data.site} has no usable exam, patient or image '{name}'",
                where=name,
                do=(f"did you mean '{guess}'? " if guess else "") + "names are those of the manifest",
            )
        found |= dict.fromkeys(fitting)
    return list(found)


def worst(data: SiteData, logits: Logits, number: int) -> list[Exam]:
    """Exams of the test patients with the largest cross-entropy of a breast, the worst first.

    Only test patients: of those it was trained on the model knows the answer.

    Args:
        data: of the site.
        logits: ``(breasts,)``.
        number: of exams, at most.

    Raises:
        CaseError: there are no test patients.
    """
    loss = np.logaddexp(0.0, np.where(data.targets == 1, -logits, logits))
    tested = [exam for exam in exams(data) if data.breasts[exam.breasts[0]].split == "test"]
    if not tested:
        raise CaseError(f"{data.site} has no test patients", where="--worst", do="name exams instead")
    return sorted(tested, key=lambda exam: -float(loss[list(exam.breasts)].max()))[:number]


def worst_marked(data: SiteData, reading: SiteReading, config: EvaluationConfig, number: int) -> list[Exam]:
    """Exams of the test patients in which a detector erred most surely, the worst first.

    By turns the exam with the most surely missed lesion (the one whose best mark has the lowest score, 0 without any)
    and the exam with the surest false mark (the one that hits no lesion, with the highest score). Scores of the two
    kinds of error have no common measure, so neither kind may crowd out the other. Views whose lesions are not known
    say nothing.

    Args:
        data: of the site.
        reading: all its detections.
        config: for the hit rule.
        number: of exams, at most.

    Raises:
        CaseError: there are no test patients whose lesions are known.
    """
    exam_of = {index: exam for exam in exams(data) for index in exam.breasts}
    missed, alarming = dict[Exam, float](), dict[Exam, float]()
    for view in reading.known():
        if data.breasts[view.breast].split != "test":
            continue
        exam, found = exam_of[view.breast], hits(view.boxes, view.sought, config.hit_rule, config.hit_overlap)
        best = np.where(found, view.scores[:, None], 0.0).max(axis=0, initial=0.0)
        if len(best):
            missed[exam] = min(missed.get(exam, np.inf), float(best.min()))
        false = float(view.scores[~found.any(axis=1)].max(initial=0.0))
        alarming[exam] = max(alarming.get(exam, 0.0), false)
    if not alarming:
        raise CaseError(
            f"{data.site} has no test patients whose lesions are known", where="--worst", do="name exams instead"
        )
    by_turns = zip_longest(
        sorted(missed, key=lambda exam: missed[exam]), sorted(alarming, key=lambda exam: -alarming[exam])
    )
    return list(dict.fromkeys(exam for pair in by_turns for exam in pair if exam is not None))[:number]
