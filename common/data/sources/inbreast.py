"""INbreast (Moreira et al. 2012): digital, outlines of every finding, mostly without biopsies."""

from __future__ import annotations

import plistlib
import re
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from common.data.sources.source import (
    BI_RADS,
    Imported,
    ImportedImage,
    Source,
    bounding_box,
    choose,
    find_table,
    one_label_a_breast,
    read_table,
)
from common.errors import ManifestError
from common.imaging.box import Box

SIDES = {"L": "L", "R": "R"}
CATEGORIES = BI_RADS | {f"4{letter}": "malignant" for letter in "ABC"}
NAME = re.compile(r"^(\d+)_([0-9a-f]+)_MG_")
"""Number of the image and a pseudonym of the patient, whom the table no longer tells."""
POINT = re.compile(r"^\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)$")


def read(folder: Path) -> Imported:
    """Read ``INbreast.csv``, the DICOM files and the outlines (XML property lists named after the images).

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: the table or an outline is not as published.
    """
    table = find_table(folder, "INbreast.csv", "*nbreast*.csv")
    files: dict[str, tuple[Path, str]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        name = NAME.match(path.name)
        if name and path.is_file():
            files[name[1]] = (path, name[2])
    outlines = {path.stem: path for path in sorted(folder.rglob("*.xml"))}
    result = Imported()
    for line, row in read_table(table, ["Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads"]):
        number = row["File Name"]
        if not number:
            continue  # the published table ends with empty rows
        if number not in files:
            result.leave_out(number, "its image is not in the folder")
            continue
        where = f"{table}:{line}"
        path, patient = files[number]
        label = choose(row["Bi-Rads"], CATEGORIES, "Bi-Rads", where)
        result.images.append(
            ImportedImage(
                patient_id=patient,
                exam_id=f"{patient}-{row['Acquisition date']}",
                laterality=choose(row["Laterality"], SIDES, "Laterality", where),
                view=row["View"].upper(),
                file=path,
                label=label,
                boxes=_boxes(outlines[number], label) if number in outlines else (),
                density=row["ACR"],
            )
        )
    result.images = one_label_a_breast(result.images)
    return result


def _boxes(path: Path, label: str) -> tuple[Box, ...]:
    """Boxes around all outlines; calcifications are single points."""
    try:
        with path.open("rb") as stream:
            images: list[dict[str, Any]] = plistlib.load(stream)["Images"]
        outlines = [[_point(text) for text in roi["Point_px"]] for image in images for roi in image["ROIs"]]
    except (OSError, ExpatError, plistlib.InvalidFileException, ValueError, TypeError, KeyError) as error:
        raise ManifestError(
            f"the outlines cannot be read: {error!r}", where=str(path), do="restore the file as it was published"
        ) from error
    return tuple(bounding_box(points, label) for points in outlines if points)


def _point(text: str) -> tuple[float, float]:
    found = POINT.match(text.strip())
    if not found:
        raise ValueError(f"'{text}' is no point")
    return max(0.0, float(found[1])), max(0.0, float(found[2]))


INBREAST = Source(
    title="INbreast, digital, 115 women",
    layout="INbreast.csv, AllDICOMs/22678622_…_MG_R_CC_ANON.dcm and AllXML/22678622.xml",
    labels="the reader's category: BI-RADS 4 to 6 are malignant, 2 and 3 benign, 1 normal, of a breast's views the "
    "worst counts. Boxes surround the outlines of all findings; an image without an XML file has none. The "
    "patient is taken from the file's name",
    read=read,
)
