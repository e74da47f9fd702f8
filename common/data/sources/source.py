"""What every source of mammograms gives: images with labels and boxes, and what it had to leave out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.configuration.naming import nearest
from common.data.manifest import LABELS
from common.errors import ManifestError, MissingColumnError, UnknownLabelError
from common.imaging.box import Box

Row = dict[str, str]

BI_RADS = {"1": "normal", "2": "benign", "3": "benign", "4": "malignant", "5": "malignant", "6": "malignant"}
"""Label where a set tells only the reader's category: suspicion (4 and more) stands for malignancy."""


@dataclass(frozen=True)
class ImportedImage:
    """A row of a manifest to be. ``boxes`` is ``None`` where they are unknown, empty where there are none."""

    patient_id: str
    exam_id: str
    laterality: str
    view: str
    file: Path
    label: str
    boxes: tuple[Box, ...] | None = None
    split: str = ""
    device: str = ""
    age: str = ""
    density: str = ""
    spacing_mm: float | None = None


@dataclass
class Imported:
    """What a source holds, and what of it is not imported or worth a remark: pairs of what and why."""

    images: list[ImportedImage] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)

    def leave_out(self, what: str | Path, why: str) -> None:
        """Remember what is not imported; the same cause in the same words, so that it can be counted."""
        self.left_out.append((str(what), why))

    def remark(self, what: str | Path, why: str) -> None:
        """Remember what is worth knowing of something that is imported; the same in the same words."""
        self.remarks.append((str(what), why))


@dataclass(frozen=True)
class Source:
    """A kind of archive that can be imported."""

    title: str
    layout: str
    """What must lie in the folder."""
    labels: str
    """The one rule from its annotations to malignant, benign and normal, and what no box means."""
    read: Callable[[Path], Imported]


def worst(labels: Iterable[str]) -> str:
    """The label of several findings or views together: malignant before benign before normal."""
    return max(labels, key=LABELS.index)


def one_label_a_breast(images: Sequence[ImportedImage]) -> list[ImportedImage]:
    """Give all images of a breast in an exam the worst label among them."""
    found: dict[tuple[str, str, str], str] = {}
    for image in images:
        breast = (image.patient_id, image.exam_id, image.laterality)
        found[breast] = worst((found.get(breast, "normal"), image.label))
    return [replace(image, label=found[image.patient_id, image.exam_id, image.laterality]) for image in images]


def one_split_a_patient(images: Sequence[ImportedImage]) -> list[ImportedImage]:
    """Move patients whom the official split puts on both sides to the test side, whole."""
    tested = {image.patient_id for image in images if image.split == "test"}
    return [replace(image, split="test") if image.patient_id in tested else image for image in images]


def find_table(folder: Path, *patterns: str) -> Path:
    """The one file below ``folder`` that fits the first pattern that any fits.

    Raises:
        ManifestError: none, or several.
    """
    if not folder.is_dir():
        raise ManifestError("there is no such folder", where=str(folder), do="give the folder of the data set")
    for pattern in patterns:
        found = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path.relative_to(folder)) for path in found[:3])
            raise ManifestError(
                f"{len(found)} files fit {pattern}: {names}", where=str(folder), do="keep one of them in the folder"
            )
    raise ManifestError(
        f"no file {' or '.join(patterns)} is there",
        where=str(folder),
        do="give the folder the data set was unpacked to; save tables of Excel as CSV in UTF-8",
    )


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[int, Row]]:
    """Rows of a CSV file with the number of their last line; fields without outer white space.

    Args:
        path: separator ``,`` or ``;``, UTF-8.
        columns: needed ones; the others are kept too.

    Raises:
        ManifestError: not there, or no CSV in UTF-8.
        MissingColumnError: a needed column is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=";" if first.count(";") > first.count(",") else ",", restval="")
            reader.fieldnames = [str(name).strip() for name in reader.fieldnames or []]
            missing = [name for name in columns if name not in reader.fieldnames]
            if missing:
                others = [name for name in reader.fieldnames if name not in columns]
                hints = [f"'{guess}' looks like '{name}'" for name in missing if (guess := nearest(name, others))]
                raise MissingColumnError(
                    f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                    where=str(path),
                    do="; ".join([*hints, "give the file as it was published"]),
                )
            return [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if key is not None})
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"cannot read the table: {error}", where=str(path), do="give a CSV file in UTF-8"
        ) from error


def choose(value: str, choices: dict[str, str], what: str, where: str) -> str:
    """What an annotation's word means to us, whatever its case.

    Raises:
        UnknownLabelError: the word is not among those that the set's description names.
    """
    meaning = choices.get(value.strip().upper())
    if meaning is None:
        raise UnknownLabelError(
            f"{what} '{value}' is unknown", where=where, do=f"known are {', '.join(choices)}; correct or remove the row"
        )
    return meaning


def index_files(folder: Path, *endings: str) -> dict[str, list[Path]]:
    """Image files below ``folder`` by their name without ending; endings in lower case, with dot."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in endings and path.is_file():
            found.setdefault(path.stem, []).append(path)
    return found


def bounding_box(points: Iterable[tuple[float, float]], label: str = "") -> Box:
    """The box around points (x, y); a single point gets one pixel."""
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(max(xs), min(xs) + 1), max(max(ys), min(ys) + 1), label)
