"""A small site of drawn breasts, each test with its own copy."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.common.imaging.mammograms import drawn_breast, write_png

COLUMNS = ("patient_id", "exam_id", "laterality", "view", "file", "label", "boxes", "split", "device")


def write_manifest(folder: Path, rows, columns=COLUMNS, delimiter=",", encoding="utf-8") -> Path:
    """Write rows (dicts) as ``manifest.csv``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, columns, delimiter=delimiter, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(patient="p1", laterality="L", view="CC", label="normal", **more) -> dict[str, str]:
    """One good row; its file is named after patient, side and view."""
    return {
        "patient_id": patient, "exam_id": f"{patient}-1", "laterality": laterality, "view": view, "label": label,
        "file": f"images/{patient}-{laterality}-{view}.png", "boxes": "[]", "split": "", "device": "m1", **more,
    }  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """Write a site: one patient for each label given, both breasts (the right one normal), CC and MLO."""

    def write(*labels: str, **changes: str) -> Path:
        rows = []
        for number, label in enumerate(labels):
            for laterality in "LR":
                for view in ("CC", "MLO"):
                    boxes = [{"x0": 30, "y0": 100, "x1": 45, "y1": 115, "label": "mass"}] if laterality == "L" else []
                    rows.append(
                        row(f"p{number}", laterality, view, label if laterality == "L" else "normal",
                            boxes=json.dumps(boxes), **changes)
                    )  # fmt: skip
        for number, item in enumerate(rows):
            pixels = drawn_breast(seed=number)
            write_png(tmp_path / "site" / item["file"], pixels if item["laterality"] == "L" else pixels[:, ::-1], 8)
        return write_manifest(tmp_path / "site", rows)

    return write


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
