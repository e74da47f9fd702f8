"""Which exams are explained: by name, by image file, or those that the model judged worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.inference import Logits
from common.configuration.naming import nearest
from common.data.dataset import SiteData
from common.errors import CaseError


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
