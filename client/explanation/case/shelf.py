"""Finished case reports of one model: a report's folder appears at once when all of it is written, or not at all.

So whatever ends a program, a power cut aside, a folder that is there is whole, and its record says what it is of.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from client.explanation.case.choice import Exam
from common.atomic import write_bytes, write_text
from common.errors import StorageError

RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """What a finished report is of, kept beside it."""

    patient_id: str
    exam_id: str
    labels: str
    probability: float
    """The highest of the exam's breasts; of a detector the highest score of one."""
    model: str
    """SHA-256 of the model's file."""
    methods: tuple[str, ...]
    false_marks: float | None = None
    """Of a detector: so many an image, at most, at the score from which on marks are shown."""
    marks: int | None = None
    """Of a detector: how many are shown."""

    def is_of(self, model: str, methods: tuple[str, ...], false_marks: float | None = None) -> bool:
        """Whether the report says what this model and these methods, in this order, would say."""
        return (self.model, self.methods, self.false_marks) == (model, methods, false_marks)


_RECORD = TypeAdapter(Record)


def folder_name(exam: Exam) -> str:
    """A plain name for any identifier, different for different exams."""
    full = f"{exam.patient_id}/{exam.exam_id}"
    plain = re.sub(r"[^A-Za-z0-9]+", "-", exam.exam_id or exam.patient_id).strip("-")[:40]
    return f"{plain or 'exam'}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def record_in(folder: Path) -> Record | None:
    """The record of a report's folder; None where there is no finished report."""
    try:
        return _RECORD.validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def records(shelf: Path) -> dict[str, Record]:
    """All finished reports by their folders' names."""
    found = {folder.name: record_in(folder) for folder in sorted(shelf.glob("[!.]*")) if folder.is_dir()}
    return {name: record for name, record in found.items() if record is not None}


def put(shelf: Path, name: str, files: Iterable[tuple[str, bytes]], record: Record) -> None:
    """Write a report, one file after the other, and let it appear in place of an earlier one.

    Only one process may write to a shelf.

    Args:
        shelf: folder of the model's reports.
        name: of the report's folder.
        files: path in the folder, with ``/``, and content; made while they are written.
        record: what the report is of.

    Raises:
        StorageError: disk full or no permission; an earlier report is as it was, or gone.
    """
    aside, place = shelf / f".{name}.partial", shelf / name
    _remove(aside)  # of a program that was killed
    try:
        for path, content in files:
            write_bytes(aside / path, content)
        write_text(aside / RECORD, _RECORD.dump_json(record, indent=1, exclude_none=True).decode())
        _remove(place)
        aside.rename(place)
    except OSError as error:
        raise StorageError(
            f"cannot put a report into its place: {error.strerror or error}",
            where=str(place),
            do="check the folder and its permissions, then run the same command again; finished reports are kept",
        ) from error


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
