"""Writes ``manifest.csv``: what :mod:`common.data.manifest` reads."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.data.sources.source import ImportedImage
from common.imaging.box import Box

COLUMNS = (
    "patient_id", "exam_id", "laterality", "view", "file", "label", "boxes", "split", "device", "age", "density",
    "spacing_mm",
)  # fmt: skip


def manifest_text(images: Iterable[ImportedImage], folder: Path) -> str:
    """The manifest of ``images`` for ``folder``: files are written relative to it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image in images:
        writer.writerow(
            (
                image.patient_id,
                image.exam_id,
                image.laterality,
                image.view,
                Path(os.path.relpath(image.file.resolve(), folder.resolve())).as_posix(),
                image.label,
                boxes_text(image.boxes),
                image.split,
                image.device,
                image.age,
                image.density,
                "" if image.spacing_mm is None else f"{image.spacing_mm:.6g}",
            )
        )
    return stream.getvalue()


def boxes_text(boxes: Sequence[Box] | None) -> str:
    """Boxes as JSON; empty where they are unknown."""
    if boxes is None:
        return ""
    return json.dumps([{"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1, "label": box.label} for box in boxes])
