"""CBIS-DDSM (Lee et al. 2017): digitised film with outlined masses and calcifications."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from common import progress
from common.data.sources.source import (
    Imported,
    ImportedImage,
    Row,
    Source,
    choose,
    find_table,
    one_label_a_breast,
    one_split_a_patient,
    read_table,
    worst,
)
from common.errors import UnreadableImageError
from common.imaging.box import Box
from common.imaging.decoding import decode
from common.imaging.reading import DECODING_ERRORS

TABLES = (
    ("*mass_case_description_train_set.csv", "train"),
    ("*mass_case_description_test_set.csv", "test"),
    ("*calc_case_description_train_set.csv", "train"),
    ("*calc_case_description_test_set.csv", "test"),
)
COLUMNS = (
    "patient_id", "left or right breast", "image view", "pathology", "image file path", "cropped image file path",
    "ROI mask file path",
)  # fmt: skip
SIDES = {"LEFT": "L", "RIGHT": "R", "L": "L", "R": "R"}
PATHOLOGY = {"MALIGNANT": "malignant", "BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign"}


@dataclass
class _Image:
    """A full mammogram and its abnormalities: (label, case folder of the outline)."""

    row: Row
    split: str
    case: str
    findings: list[tuple[str, str]] = field(default_factory=list)


def read(folder: Path) -> Imported:
    """Read the four tables and, where they are there, the outlines of all abnormalities.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: no table is there, or it is not as published.
    """
    images = _listed(folder)
    cases = _case_folders(folder)
    result = Imported()
    with progress.track("reading outlines", len(images)) as advance:
        for image in images.values():
            _import(image, cases, result)
            advance(1)
    result.images = one_split_a_patient(one_label_a_breast(result.images))
    return result


def _listed(folder: Path) -> dict[str, _Image]:
    """The images of all tables that are there, by case; an image with masses and calcifications is in two cases."""
    there = [(pattern, split) for pattern, split in TABLES if any(folder.rglob(pattern))]
    if not there:
        find_table(folder, *(pattern for pattern, _ in TABLES))
    images: dict[str, _Image] = {}
    for pattern, split in there:
        table = find_table(folder, pattern)
        for line, row in read_table(table, COLUMNS):
            # The paths hold line breaks inside quotes, and name folders of an old download: only the case is used.
            case = _case(row["image file path"])
            label = choose(row["pathology"], PATHOLOGY, "pathology", f"{table}:{line}")
            image = images.setdefault(case, _Image(row, split, case))
            # The columns of outline and cut-out are sometimes swapped; both lie in the same case.
            image.findings.append((label, _case(row["ROI mask file path"]) or _case(row["cropped image file path"])))
    return images


def _case(path: str) -> str:
    return path.replace("\\", "/").strip().split("/")[0]


def _case_folders(folder: Path) -> dict[str, Path]:
    """Folders such as ``Mass-Training_P_00001_LEFT_CC``, with what the outline's number adds."""
    return {path.name: path for path in sorted(folder.rglob("*_P_*")) if path.is_dir()}


def _import(image: _Image, cases: dict[str, Path], result: Imported) -> None:
    row = image.row
    files = _dicom_files(cases.get(image.case))
    if not files:
        result.leave_out(image.case, "its image is not in the folder")
        return
    try:
        size = _size(files[0])
        boxes = [_box(_dicom_files(cases.get(case)), size, label) for label, case in image.findings]
    except UnreadableImageError as error:
        result.leave_out(image.case, error.what)
        return
    known = tuple(box for box in boxes if box is not None)
    result.images.append(
        ImportedImage(
            patient_id=row["patient_id"],
            exam_id=row["patient_id"],
            laterality=choose(row["left or right breast"], SIDES, "left or right breast", image.case),
            view=row["image view"].upper(),
            file=files[0],
            label=worst(label for label, _ in image.findings),
            boxes=known if len(known) == len(boxes) else None,
            split=image.split,
            device="film",
            density=row.get("breast_density") or row.get("breast density") or "",
        )
    )


def _dicom_files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(path for path in folder.rglob("*.dcm") if path.is_file())


def _size(path: Path) -> tuple[int, int]:
    header = _header(path, pixels=False)
    return int(header.Rows), int(header.Columns)


def _box(files: Iterable[Path], size: tuple[int, int], label: str) -> Box | None:
    """The box around an outline: of the case's files the one as large as the mammogram, with two values only."""
    for path in files:
        if _size(path) != size:
            continue
        try:
            mask = decode(_header(path, pixels=True))
        except DECODING_ERRORS as error:
            raise UnreadableImageError("an outline cannot be decoded", where=str(path)) from error
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) and len(np.unique(mask)) == 2:
            return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1), label)
    return None


def _header(path: Path, pixels: bool) -> pydicom.FileDataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (OSError, InvalidDicomError, *DECODING_ERRORS) as error:
        raise UnreadableImageError("a file cannot be read", where=str(path)) from error


CBIS_DDSM = Source(
    title="CBIS-DDSM, digitised films with outlines",
    layout="the four CSV files (mass and calc, train and test) and the folders Mass-Training_P_00001_LEFT_CC, Mass-"
    "Training_P_00001_LEFT_CC_1, … in either of the two layouts of the download",
    labels="MALIGNANT is malignant, BENIGN and BENIGN_WITHOUT_CALLBACK are benign, of several abnormalities the "
    "worst counts; nothing is normal. Boxes surround the outlines; if one is missing, the boxes of its image "
    "are unknown. 31 patients are on both sides of the official split: they become test patients",
    read=read,
)
