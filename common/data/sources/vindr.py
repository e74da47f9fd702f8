"""VinDr-Mammo (Nguyen et al. 2023): digital, double read, boxes around findings, no biopsies."""

from __future__ import annotations

from pathlib import Path

from common.data.sources.source import (
    BI_RADS,
    Imported,
    ImportedImage,
    Source,
    choose,
    find_table,
    index_files,
    one_label_a_breast,
    read_table,
)
from common.errors import BoxOutsideImageError
from common.imaging.box import Box

SIDES = {"L": "L", "R": "R"}
SPLITS = {"TRAINING": "train", "TEST": "test"}
CATEGORIES = {f"BI-RADS {number}": label for number, label in BI_RADS.items()}
DENSITY = "DENSITY "
EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(folder: Path) -> Imported:
    """Read both annotation tables and the images ``STUDY/IMAGE.dicom``.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: a table is not as published.
        BoxOutsideImageError: an edge of a box is no number.
    """
    table = find_table(folder, "breast-level_annotations.csv")
    boxes = _boxes(find_table(folder, "finding_annotations.csv"))
    files = index_files(folder, ".dicom", ".dcm", ".png")
    result = Imported()
    for line, row in read_table(
        table, ["study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density", "split"]
    ):
        where = f"{table}:{line}"
        image = row["image_id"]
        if image not in files:
            result.leave_out(image, "its image is not in the folder")
            continue
        result.images.append(
            ImportedImage(
                patient_id=row["study_id"],
                exam_id=row["study_id"],
                laterality=choose(row["laterality"], SIDES, "laterality", where),
                view=row["view_position"].upper(),
                file=files[image][0],
                label=choose(row["breast_birads"], CATEGORIES, "breast_birads", where),
                boxes=tuple(boxes.get(image, ())),
                split=choose(row["split"], SPLITS, "split", where),
                density=row["breast_density"].upper().removeprefix(DENSITY),
            )
        )
    result.images = one_label_a_breast(result.images)
    return result


def _boxes(table: Path) -> dict[str, list[Box]]:
    """Boxes by image; rows without edges say that there is no finding."""
    found: dict[str, list[Box]] = {}
    for line, row in read_table(table, ["image_id", "finding_birads", *EDGES]):
        if not any(row[edge] for edge in EDGES):
            continue
        try:
            x0, y0, x1, y1 = (float(row[edge]) for edge in EDGES)
        except ValueError as error:
            raise BoxOutsideImageError(
                "the edges of a finding are no numbers", where=f"{table}:{line}", do="correct or remove the row"
            ) from error
        label = CATEGORIES.get(row["finding_birads"].upper(), "")
        found.setdefault(row["image_id"], []).append(Box(max(0.0, x0), max(0.0, y0), x1, y1, label))
    return found


VINDR = Source(
    title="VinDr-Mammo, digital, 5,000 exams",
    layout="breast-level_annotations.csv, finding_annotations.csv and images/STUDY/IMAGE.dicom",
    labels="the reader's category of the breast: BI-RADS 4 and 5 (suspicion, not biopsy) are malignant, 2 and 3 "
    "benign, 1 normal. All findings have boxes: no row means that there is none. An exam counts as a patient",
    read=read,
)
