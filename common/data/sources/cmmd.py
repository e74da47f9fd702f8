"""CMMD (Cui et al. 2021) and the outlines of TOMPEI-CMMD: digital, biopsied breasts of one Chinese hospital."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from common.data.sources.source import (
    Imported,
    ImportedImage,
    Source,
    bounding_box,
    choose,
    find_table,
    read_table,
    worst,
)
from common.errors import ManifestError
from common.imaging.box import Box
from common.imaging.header import laterality_of, view_of

CLASSES = {"BENIGN": "benign", "MALIGNANT": "malignant"}
SIDES = {"L": "L", "R": "R"}
OUTLINES = re.compile(r"^(D[12]-\d{4})_([A-Z]+)_([LR])_AnnotationFile$")


def read(folder: Path) -> Imported:
    """Read the clinical table and every DICOM file below the folder.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: the table or an outline is not as published.
    """
    table = find_table(folder, "CMMD_clinicaldata*.csv", "*linical*.csv")
    labels: dict[tuple[str, str], str] = {}
    ages: dict[str, str] = {}
    for line, row in read_table(table, ["ID1", "LeftRight", "Age", "classification"]):
        where = f"{table}:{line}"
        breast = (row["ID1"], choose(row["LeftRight"], SIDES, "LeftRight", where))
        label = choose(row["classification"], CLASSES, "classification", where)
        labels[breast] = worst((labels.get(breast, "normal"), label))
        ages[row["ID1"]] = row["Age"]
    outlines = _outlines(folder)
    result = Imported()
    for path in sorted(path for path in folder.rglob("*.dcm") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (OSError, InvalidDicomError):
            result.leave_out(path.relative_to(folder), "no DICOM file that can be read")
            continue
        patient, side, view = str(header.get("PatientID", "")), laterality_of(header), view_of(header)
        if side is None or view is None:
            result.leave_out(path.relative_to(folder), "its header does not tell side and view")
        elif (patient, side) not in labels:
            result.leave_out(path.relative_to(folder), "the table has no diagnosis for this breast")
        else:
            label = labels[patient, side]
            result.images.append(
                ImportedImage(
                    patient_id=patient,
                    exam_id=patient,
                    laterality=side,
                    view=view,
                    file=path,
                    label=label,
                    boxes=_boxes(outlines.get((patient, view, side)), label),
                    device=str(header.get("ManufacturerModelName") or header.get("Manufacturer") or ""),
                    age=ages[patient],
                )
            )
    return result


def _outlines(folder: Path) -> dict[tuple[str, str, str], Path]:
    """Outline files of TOMPEI-CMMD by patient, view and side."""
    found = {}
    for path in sorted(folder.rglob("*_AnnotationFile.json")):
        name = OUTLINES.match(path.stem)
        if name:
            found[name[1], name[2], name[3]] = path
    return found


def _boxes(path: Path | None, label: str) -> tuple[Box, ...] | None:
    if path is None:
        return None
    try:
        polygons = [
            [(float(point["x"]), float(point["y"])) for point in item["cgPoints"]]
            for item in json.loads(path.read_text(encoding="utf-8-sig"))
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ManifestError(
            f"the outlines cannot be read: {error!r}",
            where=str(path),
            do='it should be a list of {"cgPoints": [{"x": …, "y": …}, …]}; restore or remove the file',
        ) from error
    return tuple(bounding_box(points, label) for points in polygons if points)


CMMD = Source(
    title="CMMD, with the outlines of TOMPEI-CMMD where they are there",
    layout="CMMD_clinicaldata_revision.csv (saved from the Excel file), the DICOM files in any folders, and, if "
    "wanted, D1-0001_MLO_R_AnnotationFile.json",
    labels="the biopsy of each breast: Malignant or Benign; images of a breast without a row are left out, so "
    "nothing is normal. Boxes surround the outlines; without an outline file they are unknown",
    read=read,
)
