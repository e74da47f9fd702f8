"""``labels.csv``: what a hospital's RIS or cancer registry knows of breasts, and which breast a row is about."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from common.data.manifest import LABELS, LATERALITIES, parse_boxes
from common.data.sources.source import Row, choose, read_table, worst
from common.errors import ManifestError
from common.imaging.box import Box

TABLE = "labels.csv"
COLUMNS = ("patient_id", "laterality", "label")
SIDES = {**LATERALITIES, "": ""}
WORDS = {label.upper(): label for label in LABELS}
DATE = re.compile(r"^(\d{4})[-./]?(\d{2})[-./]?(\d{2})$")


class Unlabelled(StrEnum):
    """Why the table does not tell an image's label, in the words that are shown and counted."""

    PATIENT = "the table does not have this patient"
    EXAM = "the table has no label for this exam"
    BREAST = "the table has no label for this breast"
    WHICH_EXAM = "the table does not say which of the patient's exams its label is for"
    WHICH_BREAST = "the table does not say which breast its label is for"


@dataclass(frozen=True)
class Label:
    """What the table tells of an image: label, split and density of its breast, and its own boxes."""

    label: str
    split: str
    density: str
    boxes: tuple[Box, ...] | None
    """``None``: unknown."""


@dataclass(frozen=True)
class _Entry:
    line: int
    exam: str
    laterality: str
    label: str
    split: str
    density: str
    image: str
    boxes: tuple[Box, ...] | None


class LabelTable:
    """The rows of a table by patient; remembers which of them were about an image."""

    def __init__(self, path: Path) -> None:
        """Read and check the table.

        Raises:
            ManifestError, MissingColumnError, UnknownLabelError, BoxOutsideImageError: as named.
        """
        self._rows: dict[str, list[_Entry]] = defaultdict(list)
        self._used: set[int] = set()
        for line, row in read_table(path, COLUMNS):
            if any(row.values()):
                patient, entry = _entry(row, line, f"{path}:{line}")
                self._rows[patient].append(entry)

    def find(
        self, patient: str, exam_names: Collection[str], exams: int, laterality: str, image_names: Collection[str]
    ) -> Label | Unlabelled:
        """What is known of an image.

        Args:
            patient: Patient ID.
            exam_names: how the table may call the exam: its Study Instance UID, accession number, date.
            exams: how many exams of the patient the archive has.
            laterality: ``L`` or ``R``.
            image_names: how the table may call the image: its SOP Instance UID, its path or name.
        """
        names = {_exam(name) for name in exam_names if name}
        rows = self._rows.get(patient)
        if not rows:
            return Unlabelled.PATIENT
        of_exam = [row for row in rows if row.exam in names or (not row.exam and exams == 1)]
        if not of_exam:
            return Unlabelled.WHICH_EXAM if any(not row.exam for row in rows) else Unlabelled.EXAM
        of_breast = [row for row in of_exam if row.laterality == laterality or _of_both(row)]
        if not of_breast:
            return Unlabelled.WHICH_BREAST if any(not row.laterality for row in of_exam) else Unlabelled.BREAST
        of_image = [row for row in of_breast if row.image in image_names]
        self._used.update(row.line for row in of_breast if not row.image or row.image in image_names)
        return Label(
            label=worst(row.label for row in of_breast),
            split=_told(row.split for row in of_breast),
            density=_told(row.density for row in of_breast),
            boxes=_together(of_image or [row for row in of_breast if not row.image and row.boxes is not None]),
        )

    def unused(self) -> list[int]:
        """Lines that were about no image of the archive."""
        return sorted(row.line for rows in self._rows.values() for row in rows if row.line not in self._used)


def _entry(row: Row, line: int, where: str) -> tuple[str, _Entry]:
    if not row["patient_id"]:
        raise ManifestError("'patient_id' is empty", where=where, do="fill it in, or remove the row")
    boxes, image = parse_boxes(row.get("boxes", ""), where), row.get("image", "")
    if boxes and not image:
        raise ManifestError(
            "there are boxes, but it is not said in which image",
            where=where,
            do="name it in the column image: its SOP Instance UID, or its file",
        )
    return row["patient_id"], _Entry(
        line=line,
        exam=_exam(row.get("exam", "")),
        laterality=choose(row["laterality"], SIDES, "laterality", where),
        label=choose(row["label"], WORDS, "label", where),
        split=row.get("split", ""),
        density=row.get("density", ""),
        image=image,
        boxes=boxes,
    )


def _together(rows: Sequence[_Entry]) -> tuple[Box, ...] | None:
    """Boxes of an image's rows; unknown where one of them has none to tell."""
    known = [row.boxes for row in rows if row.boxes is not None]
    return tuple(box for boxes in known for box in boxes) if rows and len(known) == len(rows) else None


def _of_both(row: _Entry) -> bool:
    """A patient without finding has two normal breasts; a finding without a side could be in either."""
    return not row.laterality and row.label == "normal"


def _exam(name: str) -> str:
    """Dates in one way of writing; anything else as it is."""
    date = DATE.match(name)
    return "".join(date.groups()) if date else name


def _told(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")
