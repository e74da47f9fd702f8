"""RSNA Screening Mammography Breast Cancer Detection (2022): digital, two screening sites, no boxes."""

from __future__ import annotations

from pathlib import Path

from common.data.sources.source import (
    Imported,
    ImportedImage,
    Source,
    choose,
    find_table,
    index_files,
    one_label_a_breast,
    read_table,
)

SIDES = {"L": "L", "R": "R"}
FLAGS = {"0": "no", "1": "yes", "FALSE": "no", "TRUE": "yes"}


def read(folder: Path) -> Imported:
    """Read ``train.csv`` and the images ``PATIENT/IMAGE.dcm`` (or ``PATIENT_IMAGE.png``) below the folder.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: the table is not as published.
    """
    table = find_table(folder, "train.csv", "*train*.csv")
    rows = read_table(table, ["patient_id", "image_id", "laterality", "view", "cancer", "biopsy"])
    files = index_files(folder, ".dcm", ".png", ".jpg", ".jpeg")
    result = Imported()
    for line, row in rows:
        where = f"{table}:{line}"
        patient, image = row["patient_id"], row["image_id"]
        places = [path for path in files.get(image, ()) if path.parent.name == patient]
        places += files.get(f"{patient}_{image}", [])
        if not places:
            result.leave_out(f"{patient}/{image}", "its image is not in the folder")
            continue
        cancer = choose(row["cancer"], FLAGS, "cancer", where) == "yes"
        biopsy = choose(row["biopsy"], FLAGS, "biopsy", where) == "yes"
        machine = row.get("machine_id", "")
        result.images.append(
            ImportedImage(
                patient_id=patient,
                exam_id=patient,
                laterality=choose(row["laterality"], SIDES, "laterality", where),
                view=row["view"].upper(),
                file=places[0],
                label="malignant" if cancer else "benign" if biopsy else "normal",
                device=f"machine {machine}" if machine else "",
                age=row.get("age", ""),
                density=row.get("density", ""),
            )
        )
    result.images = one_label_a_breast(result.images)
    return result


RSNA = Source(
    title="RSNA 2022, digital screening mammograms",
    layout="train.csv and train_images/PATIENT/IMAGE.dcm (or PATIENT_IMAGE.png)",
    labels="cancer=1 is malignant, a biopsy without cancer is benign, all others are normal. There are no boxes: "
    "they are unknown",
    read=read,
)
