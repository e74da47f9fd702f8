"""A hospital's own export: DICOM files in any folders, whatever else lies there, and a table of labels."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from common import progress
from common.data.sources.labels import TABLE, Label, LabelTable
from common.data.sources.source import Imported, ImportedImage, Source, find_table
from common.imaging import eligibility, exposures
from common.imaging.dicom_file import is_dicom, read_header
from common.imaging.eligibility import Exclusion, Remark
from common.imaging.exposures import Exposure
from common.imaging.header import laterality_of, view_of
from common.imaging.reading import DECODING_ERRORS

TAGS = tuple(
    dict.fromkeys(
        (*eligibility.TAGS, *exposures.TAGS, "AccessionNumber", "StudyDate", "PatientAge", "Manufacturer",
         "ManufacturerModelName")
    )
)  # fmt: skip
"""All that is read of a file: a few hundred bytes are kept of it, so that an archive of any size fits."""
NO_IMAGE = "no image in the folder is what this row is about"


@dataclass(frozen=True)
class _Mammogram:
    """What is kept of a file until all are known."""

    file: Path
    patient: str
    exposure: Exposure
    exam_names: tuple[str, ...]
    device: str
    age: str
    remarks: tuple[Remark, ...]


def read(folder: Path) -> Imported:
    """Read ``labels.csv`` and the header of every DICOM file below the folder.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError, BoxOutsideImageError: the table is not there
            or not as described.
    """
    table_path = find_table(folder, TABLE)
    table = LabelTable(table_path)
    result = Imported()
    found: list[_Mammogram] = []
    files = [path for path in _files(folder, result) if path != table_path]
    with progress.track("reading headers", len(files)) as advance:
        for path in files:
            seen = _look_at(path)
            if isinstance(seen, Exclusion):
                result.leave_out(path.relative_to(folder), seen)
            else:
                found.append(seen)
            advance(1)
    _label(_without_redundant(found, folder, result), table, folder, result)
    for line in table.unused():
        result.leave_out(f"{table_path.relative_to(folder)}:{line}", NO_IMAGE)
    return result


def _files(folder: Path, result: Imported) -> list[Path]:
    """All files below a folder, in the order of their names."""

    def leave_out(error: OSError) -> None:
        result.leave_out(Path(error.filename).relative_to(folder), Exclusion.CLOSED)

    return sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=leave_out) for name in names)


def _look_at(path: Path) -> _Mammogram | Exclusion:
    try:
        if not is_dicom(path):
            return Exclusion.NO_DICOM
        header = read_header(path, TAGS)
        return eligibility.exclusion(header) or _mammogram(path, header)
    except (OSError, InvalidDicomError, *DECODING_ERRORS):
        return Exclusion.DAMAGED


def _mammogram(path: Path, header: Dataset) -> _Mammogram | Exclusion:
    patient, side, view = _text(header, "PatientID"), laterality_of(header), view_of(header)
    if not patient:
        return Exclusion.NO_PATIENT
    assert side is not None and view is not None, "eligibility.exclusion asks for both"
    names = tuple(_text(header, name) for name in ("StudyInstanceUID", "AccessionNumber", "StudyDate"))
    exam = next((name for name in names if name), patient)
    return _Mammogram(
        file=path,
        patient=patient,
        exposure=exposures.exposure_of(header, exam, side, view),
        exam_names=names,
        device=_text(header, "ManufacturerModelName") or _text(header, "Manufacturer"),
        age=_text(header, "PatientAge").removesuffix("Y").lstrip("0"),
        remarks=eligibility.remarks(header),
    )


def _text(header: Dataset, name: str) -> str:
    return str(header.get(name) or "").strip()


def _without_redundant(found: list[_Mammogram], folder: Path, result: Imported) -> list[_Mammogram]:
    """Leave out second copies, and raw versions of what is there for presentation."""
    again = exposures.redundant([image.exposure for image in found])
    for place, reason in again.items():
        result.leave_out(found[place].file.relative_to(folder), reason)
    return [image for place, image in enumerate(found) if place not in again]


def _label(images: list[_Mammogram], table: LabelTable, folder: Path, result: Imported) -> None:
    exams: dict[str, set[str]] = defaultdict(set)
    for image in images:
        exams[image.patient].add(image.exposure.exam)
    for image in images:
        exposure, name = image.exposure, image.file.relative_to(folder)
        told = table.find(
            image.patient,
            image.exam_names,
            len(exams[image.patient]),
            exposure.laterality,
            {exposure.instance, name.as_posix(), image.file.name} - {""},
        )
        if not isinstance(told, Label):
            result.leave_out(name, told)
            continue
        result.images.append(
            ImportedImage(
                patient_id=image.patient,
                exam_id=exposure.exam,
                laterality=exposure.laterality,
                view=exposure.view,
                file=image.file,
                label=told.label,
                boxes=told.boxes,
                split=told.split,
                device=image.device,
                age=image.age,
                density=told.density,
            )
        )
        for remark in image.remarks:
            result.remark(name, remark)


DICOM = Source(
    title="a hospital's own export: DICOM files in any folders, and a table of labels",
    layout="labels.csv (patient_id, laterality, label, and where wanted exam, image, boxes, density, split) and the "
    "DICOM files in any folders, with or without ending; reports, scouts and whatever else lies there is left out",
    labels="as written, of a breast's rows the worst counts; a row without exam is for the patient's only exam, a row "
    "without side for both breasts if normal and for none otherwise. A breast without a row is left out. Empty boxes "
    "are unknown, [] means that there are none",
    read=read,
)
