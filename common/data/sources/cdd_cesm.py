"""CDD-CESM (Khaled et al. 2022): low-energy images of contrast-enhanced mammography, hand-drawn regions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.data.sources.source import (
    Imported,
    ImportedImage,
    Source,
    bounding_box,
    choose,
    find_table,
    index_files,
    one_label_a_breast,
    read_table,
    worst,
)
from common.errors import ManifestError
from common.imaging.box import Box
from common.imaging.eligibility import Exclusion

NAME = re.compile(r"^P(\d+)_([LR])_(DM|CM)_(\w+?)\d*$")
"""Patient, side, low energy or subtracted, view (a second image of a view has a number)."""
LABEL = "Pathology Classification/ Follow up"
LABELS = {"NORMAL": "normal", "BENIGN": "benign", "MALIGNANT": "malignant"}


def read(folder: Path) -> Imported:
    """Read the annotations (saved as CSV), the regions and the low-energy images.

    Raises:
        ManifestError, MissingColumnError, UnknownLabelError: a table or a region is not as published.
    """
    table = find_table(folder, "Radiology*annotations*.csv")
    labels: dict[str, str] = {}
    about: dict[str, dict[str, str]] = {}
    for line, row in read_table(table, ["Image_name", LABEL]):
        name = row["Image_name"].removesuffix(".jpg")
        if name:
            labels[name] = worst((labels.get(name, "normal"), choose(row[LABEL], LABELS, LABEL, f"{table}:{line}")))
            about[name] = row
    regions = _regions(find_table(folder, "Radiology*segmentations*.csv"))
    files = index_files(folder, ".jpg", ".jpeg", ".png")
    result = Imported()
    for name, label in labels.items():
        parts = NAME.match(name)
        if parts is None:
            result.leave_out(name, "its name does not tell patient, side and view")
        elif parts[3] == "CM":
            result.leave_out(name, Exclusion.SUBTRACTED)
        elif name not in files:
            result.leave_out(name, "its image is not in the folder")
        else:
            found = regions.get(name, [])
            result.images.append(
                ImportedImage(
                    patient_id=parts[1],
                    exam_id=parts[1],
                    laterality=parts[2],
                    view=parts[4],
                    file=files[name][0],
                    label=label,
                    boxes=tuple(_box(shape, label) for shape in found) if found or label == "normal" else None,
                    age=about[name].get("Age", ""),
                    density=about[name].get("Breast density (ACR)", ""),
                    device=about[name].get("Machine", ""),
                )
            )
    result.images = one_label_a_breast(result.images)
    return result


def _regions(table: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Shapes by image name; file names sometimes hold a space before their ending."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line, row in read_table(table, ["#filename", "region_shape_attributes"]):
        try:
            shape = json.loads(row["region_shape_attributes"] or "{}")
            if shape:
                _box(shape, "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManifestError(
                f"a region cannot be read: {error!r}", where=f"{table}:{line}", do="correct or remove the row"
            ) from error
        if shape:
            found.setdefault(row["#filename"].rsplit(".", 1)[0].strip(), []).append(shape)
    return found


def _box(shape: Mapping[str, Any], label: str) -> Box:
    """The box around a region of the VGG Image Annotator.

    Raises:
        KeyError, TypeError, ValueError: a shape that we do not know.
    """
    kind = shape["name"]
    if kind in ("polygon", "polyline"):
        corners = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
    elif kind == "rect":
        x, y = shape["x"], shape["y"]
        corners = [(x, y), (x + shape["width"], y + shape["height"])]
    elif kind in ("circle", "ellipse", "point"):
        x, y = shape["cx"], shape["cy"]
        rx, ry = (shape["r"], shape["r"]) if kind == "circle" else (shape.get("rx", 0), shape.get("ry", 0))
        corners = [(x - rx, y - ry), (x + rx, y + ry)]
    else:
        raise ValueError(f"shape '{kind}'")
    return bounding_box([(max(0.0, float(x)), max(0.0, float(y))) for x, y in corners], label)


CDD_CESM = Source(
    title="CDD-CESM, low-energy images",
    layout="Radiology-manual-annotations.csv (saved from the Excel file), Radiology_hand_drawn_segmentations_v2.csv "
    "and the folder Low energy images of CDD-CESM",
    labels="Pathology Classification/ Follow up: Malignant, Benign or Normal, of several findings or views of a "
    "breast the worst counts. Boxes surround the hand-drawn regions; a normal image has none, an abnormal one"
    " without a region has unknown boxes. Subtracted images are left out",
    read=read,
)
