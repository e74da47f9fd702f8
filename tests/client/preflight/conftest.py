"""A hospital's folder of small DICOM mammograms that each test spoils in its own way."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from client.preflight.check import check
from client.site import Site
from common.configuration import load_task
from tests.common.imaging.mammograms import dicom, drawn_breast

COLUMNS = ("patient_id", "exam_id", "laterality", "view", "file", "label", "boxes", "split")
PATIENTS = 12
SETTINGS = ["imaging.height=64", "imaging.width=48", "model.backbone=resnet8", "training.batch_size=4"]
LESION = [{"x0": 30, "y0": 100, "x1": 45, "y1": 115, "label": "mass"}]


@dataclass
class Hospital:
    """Twelve patients, left breast in two views; every third is malignant with a box. Spacing 0.8 mm: 150 mm high."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, patient: str, view: str = "CC", label: str = "normal", boxes=(), seed: int = 0, **tags):
        """A row and its file; ``tags`` change the header."""
        name = f"images/{patient}-{view}.dcm"
        pixels = np.round(drawn_breast(seed=seed) * 4095).astype(np.uint16)
        header = {
            "PatientID": patient, "PatientName": f"Name^{patient}", "PatientBirthDate": "19600101",
            "ImageLaterality": "L", "ViewPosition": view, "ImagerPixelSpacing": ["0.8", "0.8"],
            "Manufacturer": "Maker", "ManufacturerModelName": "One", "BurnedInAnnotation": "NO",
        } | tags  # fmt: skip
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        dicom(pixels, **header).save_as(file, enforce_file_format=True)
        self.rows.append(
            {
                "patient_id": patient, "exam_id": "", "laterality": "L", "view": view, "file": name, "label": label,
                "boxes": json.dumps(list(boxes)), "split": "",
            }
        )  # fmt: skip
        return file

    def write(self) -> None:
        """Write ``manifest.csv``."""
        with (self.folder / "manifest.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def check(self, *settings: str):
        """Write the manifest and check the site with one process."""
        self.write()
        return check(self.site, load_task(None, [*SETTINGS, *settings]), workers=1)

    @property
    def site(self) -> Site:
        return Site("TUH", self.folder, self.folder.parent / "state")


@pytest.fixture
def hospital(tmp_path) -> Hospital:
    made = Hospital(tmp_path / "TUH")
    for number in range(PATIENTS):
        malignant = number % 3 == 0
        for place, view in enumerate(("CC", "MLO")):
            made.add(
                f"p{number:02d}", view, "malignant" if malignant else "normal", LESION if malignant else (),
                seed=2 * number + place,
            )  # fmt: skip
    return made
