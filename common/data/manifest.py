"""Reads a site's ``manifest.csv`` and refuses what cannot be true, by file and line."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.configuration.naming import nearest
from common.errors import (
    BoxOutsideImageError,
    EmptySiteError,
    ManifestError,
    MissingColumnError,
    PatientInTwoSplitsError,
    UnknownLabelError,
    XaiFederationError,
)
from common.imaging.box import Box

Conflict = tuple[XaiFederationError, set[int]]
"""What is wrong between rows, and the lines of the rows it concerns."""

MANIFEST = "manifest.csv"
REQUIRED = ("patient_id", "exam_id", "laterality", "view", "file", "label", "boxes", "split")
LABELS = ("normal", "benign", "malignant")
UNLABELLED = ""
"""Label of a breast that has none; only where labels are not needed."""
SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
LATERALITIES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}


@dataclass(frozen=True)
class View:
    """One image. ``boxes`` is ``None`` where they are unknown and empty where there are none."""

    file: Path
    view: str
    line: int
    boxes: tuple[Box, ...] | None
    spacing_mm: float | None = None
    """Pixel spacing the manifest gives, for files whose header has none."""


@dataclass(frozen=True)
class Breast:
    """The unit of label and evaluation: one breast in one exam, with its views."""

    patient_id: str
    exam_id: str
    laterality: str
    label: str
    split: str
    views: tuple[View, ...]
    density: str = ""
    device: str = ""

    @property
    def target(self) -> int:
        """1 for malignant, 0 for anything else."""
        return int(self.label == "malignant")

    @property
    def key(self) -> str:
        """Unique within a site."""
        return f"{self.patient_id}/{self.exam_id}/{self.laterality}"


@dataclass(frozen=True)
class Manifest:
    """A site's breasts, in the order of their first rows."""

    site: str
    folder: Path
    breasts: tuple[Breast, ...]

    @property
    def patients(self) -> list[str]:
        """Patient identifiers, sorted."""
        return sorted({breast.patient_id for breast in self.breasts})


def read_manifest(source: Path, site: str, unlabelled: bool = False) -> Manifest:
    """Read and check a manifest.

    Args:
        source: the CSV file, or the folder that holds ``manifest.csv``. Separator ``,`` or ``;``.
        site: name of the site, for messages.
        unlabelled: labels may be empty.

    Raises:
        ManifestError: missing, not text, no CSV, an empty or impossible value, two labels for one breast.
        MissingColumnError, UnknownLabelError, PatientInTwoSplitsError, EmptySiteError: as named.
        BoxOutsideImageError: a box is empty, inverted or has negative corners (the far side is
            checked when the image is read).
    """
    manifest, problems = examine_manifest(source, site, unlabelled)
    if problems:
        first, others = problems[0], len(problems) - 1
        more = f"; {others} more problem{'s' if others > 1 else ''}: xai-client check lists all" if others else ""
        raise type(first)(first.what, where=first.where, do=first.do + more)
    return manifest


def examine_manifest(source: Path, site: str, unlabelled: bool = False) -> tuple[Manifest, list[XaiFederationError]]:
    """Read what of a manifest is right, and tell everything that is wrong with the rest.

    Args:
        source, site, unlabelled: as for :func:`read_manifest`.

    Returns:
        The breasts whose rows are right, maybe none, and a named error for every problem.

    Raises:
        ManifestError, MissingColumnError, EmptySiteError: no rows can be read at all.
    """
    path = source if source.is_file() or source.suffix.lower() == ".csv" else source / MANIFEST
    rows = _read_rows(path)
    if not rows:
        raise EmptySiteError(
            f"the manifest of site {site} has no rows",
            where=str(path),
            do="add images, or leave the site out with sites=[...]",
        )
    images: list[Breast] = []
    problems: list[XaiFederationError] = []
    for line, row in rows:
        try:
            images.append(_breast(row, path, line, unlabelled))
        except XaiFederationError as error:
            problems.append(error)
    for conflicts in (_images_twice, _patients_in_two_splits, _breasts_with_two_labels):
        wrong: set[int] = set()
        for problem, lines in conflicts(images, path):
            problems.append(problem)
            wrong |= lines
        images = [image for image in images if image.views[0].line not in wrong]
    breasts = (
        replace(parts[0], views=tuple(view for part in parts for view in part.views))
        for _, parts in _grouped(images, lambda image: image.key)
    )
    return Manifest(site, path.parent, tuple(breasts)), problems


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            separator = ";" if first.count(";") > first.count(",") else ","
            reader = csv.DictReader(stream, delimiter=separator, restval="")
            columns = [str(name).strip() for name in reader.fieldnames or []]
            _require_columns(columns, path)
            reader.fieldnames = columns
            rows = []
            for row in reader:
                _refuse_malformed(row, f"{path}:{reader.line_num}")
                if any(value for key, value in row.items() if key is not None):
                    rows.append((reader.line_num, {key: (row[key] or "").strip() for key in columns}))
            return rows
    except FileNotFoundError as error:
        raise ManifestError(
            "there is no manifest",
            where=str(path),
            do="write one (docs/data.md), or let xai-client import make it from your DICOM files or a public data set",
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"cannot read the manifest: {error}", where=str(path), do="give a CSV file in UTF-8 (docs/data.md)"
        ) from error


def _refuse_malformed(row: Mapping[str | None, str | list[str] | None], where: str) -> None:
    """A row with more fields than the header has slipped sideways; a NUL is no text."""
    if any(field.strip() for field in row.get(None) or ()):
        raise ManifestError(
            "the row has more fields than the header",
            where=where,
            do='put fields that hold separators in double quotes and double those inside: "[{""x0"": 1, …}]"',
        )
    if any("\0" in value for value in row.values() if isinstance(value, str)):
        raise ManifestError("the row holds a NUL character", where=where, do="save the manifest as CSV in UTF-8 again")


def _require_columns(columns: list[str], path: Path) -> None:
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise ManifestError(f"the column {twice[0]} is there twice", where=str(path), do="remove or rename one of them")
    missing = [name for name in REQUIRED if name not in columns]
    if not missing:
        return
    hints = [f"'{guess}' looks like '{name}'" for name in missing if (guess := nearest(name, columns))]
    raise MissingColumnError(
        f"the manifest lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
        where=str(path),
        do="; ".join([*hints, f"needed are {', '.join(REQUIRED)} (boxes and split may be empty)"]),
    )


def _breast(row: Mapping[str, str], path: Path, line: int, unlabelled: bool) -> Breast:
    where = f"{path}:{line}"
    for name in ("patient_id", "file", "view"):
        if not row[name]:
            raise ManifestError(f"'{name}' is empty", where=where, do="fill it in")
    laterality = LATERALITIES.get(row["laterality"].upper())
    if laterality is None:
        raise ManifestError(f"laterality '{row['laterality']}' is neither L nor R", where=where, do="write L or R")
    label = row["label"].lower()
    if label not in LABELS and not (unlabelled and label == UNLABELLED):
        guess = nearest(label, list(LABELS))
        raise UnknownLabelError(
            f"label '{row['label']}' is unknown",
            where=where,
            do=(f"did you mean '{guess}'? " if guess else "") + f"labels are {', '.join(LABELS)}",
        )
    split = SPLIT_NAMES.get(row["split"].lower())
    if split is None:
        raise ManifestError(
            f"split '{row['split']}' is unknown", where=where, do="write train, validation or test, or leave it empty"
        )
    spacing = _spacing(row.get("spacing_mm", ""), where)
    view = View(path.parent / row["file"], row["view"].upper(), line, parse_boxes(row["boxes"], where), spacing)
    exam = row["exam_id"] or row["patient_id"]
    return Breast(
        row["patient_id"], exam, laterality, label, split, (view,), row.get("density", ""), row.get("device", "")
    )


def _spacing(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        spacing = float(text)
    except ValueError:
        spacing = math.nan
    if not 0.001 <= spacing <= 10:
        raise ManifestError(f"spacing_mm '{text}' is no pixel spacing", where=where, do="give mm a pixel, e.g. 0.07")
    return spacing


def parse_boxes(text: str, where: str) -> tuple[Box, ...] | None:
    """The column ``boxes``: JSON; empty is ``None``, unknown.

    Raises:
        ManifestError, BoxOutsideImageError: no boxes, or impossible ones.
    """
    if not text:
        return None
    try:
        found = json.loads(text)
        if not isinstance(found, list):
            raise TypeError("not a list")
        boxes = tuple(
            Box(float(item["x0"]), float(item["y0"]), float(item["x1"]), float(item["y1"]), str(item.get("label", "")))
            for item in found
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ManifestError(
            f"boxes cannot be read: {error!r}",
            where=where,
            do='write [{"x0": 1, "y0": 2, "x1": 30, "y1": 40}], [] for none, or leave empty if unknown',
        ) from error
    for box in boxes:
        corners = (box.x0, box.y0, box.x1, box.y1)
        if not all(math.isfinite(corner) for corner in corners) or box.x1 <= box.x0 or box.y1 <= box.y0:
            raise BoxOutsideImageError(
                f"box {corners} is empty or inverted",
                where=where,
                do="x0 < x1 and y0 < y1, in pixels of the stored image",
            )
        if box.x0 < 0 or box.y0 < 0:
            raise BoxOutsideImageError(
                f"box {corners} begins outside the image",
                where=where,
                do="give pixels of the stored image, counted from 0",
            )
    return boxes


def _images_twice(breasts: Sequence[Breast], path: Path) -> Iterator[Conflict]:
    """One file for two rows would put the same picture on both sides of a split, or under two labels."""
    lines: dict[Path, int] = {}
    for breast in breasts:
        view = breast.views[0]
        earlier = lines.setdefault(view.file, view.line)
        if earlier != view.line:
            error = ManifestError(
                f"the image {view.file.name} is listed twice",
                where=f"{path}:{earlier} and {view.line}",
                do="remove or correct one of the rows",
            )
            yield error, {view.line}


def _patients_in_two_splits(breasts: Sequence[Breast], path: Path) -> Iterator[Conflict]:
    for patient, parts in _grouped(breasts, lambda breast: breast.patient_id):
        other = next((part for part in parts if part.split != parts[0].split), None)
        if other:
            names = [parts[0].split or "(empty)", other.split or "(empty)"]
            error = PatientInTwoSplitsError(
                f"patient {patient} is in two splits: {names[0]} and {names[1]}",
                where=f"{path}:{parts[0].views[0].line} and {other.views[0].line}",
                do="put all images of a patient into one split, or leave the column empty",
            )
            yield error, {part.views[0].line for part in parts}


def _breasts_with_two_labels(breasts: Sequence[Breast], path: Path) -> Iterator[Conflict]:
    for _, parts in _grouped(breasts, lambda breast: breast.key):
        first = parts[0]
        other = next((part for part in parts if part.label != first.label), None)
        if other:
            error = ManifestError(
                f"breast {first.laterality} of patient {first.patient_id} is both {first.label} and {other.label}",
                where=f"{path}:{first.views[0].line} and {other.views[0].line}",
                do="the label is per breast: give all its views the same",
            )
            yield error, {part.views[0].line for part in parts}


def _grouped(breasts: Sequence[Breast], key: Callable[[Breast], str]) -> Iterable[tuple[str, list[Breast]]]:
    groups: dict[str, list[Breast]] = {}
    for breast in breasts:
        groups.setdefault(key(breast), []).append(breast)
    return groups.items()
