"""mini-MIAS (Suckling et al. 1994): digitised film, one oblique view a breast, circles around findings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from common.data.sources.source import Imported, ImportedImage, Source, find_table, index_files, worst
from common.errors import ManifestError
from common.imaging.box import Box

LINE = re.compile(r"^(mdb\d{3})\s+([FGD])\s+([A-Z]{4})\b\s*(.*)$")
FINDING = re.compile(r"^([BM])(?:\s+(\d+)\s+(\d+)\s+(\d+)|\b.*)$")
LABELS = {"B": "benign", "M": "malignant"}
SIDE = 1024
"""Pixels of an image's side as published, 0.2 mm each."""
SPACING_MM = 0.2


@dataclass(frozen=True)
class _Finding:
    """``circle``: x and y of the centre, y from the bottom, and radius; ``None`` where it is not given."""

    label: str
    circle: tuple[int, int, int] | None


def read(folder: Path) -> Imported:
    """Read ``Info.txt`` and the images that it names.

    Raises:
        ManifestError: no ``Info.txt``, or a line of it that cannot be read.
    """
    table = find_table(folder, "Info.txt", "info.txt")
    findings: dict[str, list[_Finding]] = {}
    density: dict[str, str] = {}
    for number, line in enumerate(table.read_text(encoding="latin-1").splitlines(), 1):
        found = LINE.match(line.strip())
        if found:
            name, tissue, kind, rest = found.groups()
            density[name] = tissue
            findings.setdefault(name, [])
            if kind != "NORM":
                findings[name].append(_finding(rest, f"{table}:{number}"))
    files = index_files(folder, ".pgm", ".png", ".jpg", ".jpeg")
    result = Imported()
    for name, marks in findings.items():
        size = _size(files[name][0]) if name in files else None
        if size is None:
            result.leave_out(name, "its image is missing or cannot be read")
            continue
        number = int(name[3:])
        patient = f"{(number + 1) // 2:03d}"
        result.images.append(
            ImportedImage(
                patient_id=patient,
                exam_id=patient,
                laterality="L" if number % 2 else "R",
                view="MLO",
                file=files[name][0],
                label=worst(["normal", *(mark.label for mark in marks)]),
                boxes=_boxes(marks, size),
                density=density[name],
                spacing_mm=SPACING_MM * SIDE / size[0],
            )
        )
    return result


def _finding(text: str, where: str) -> _Finding:
    found = FINDING.match(text.strip())
    if not found:
        raise ManifestError(f"the finding '{text}' cannot be read", where=where, do="give Info.txt as it was published")
    severity, *circle = found.groups()
    x, y, radius = (int(value) if value else 0 for value in circle)
    return _Finding(LABELS[severity], (x, y, radius) if radius else None)


def _boxes(marks: list[_Finding], size: tuple[int, int]) -> tuple[Box, ...] | None:
    """Boxes around the circles, cut at the edges; unknown if one circle is not given or lies outside."""
    boxes = []
    scale = size[0] / SIDE
    for mark in marks:
        if mark.circle is None:
            return None
        x, y, radius = mark.circle[0], SIDE - 1 - mark.circle[1], mark.circle[2]
        x0, y0 = max(0.0, (x - radius) * scale), max(0.0, (y - radius) * scale)
        x1, y1 = min(size[0], (x + radius + 1) * scale), min(size[1], (y + radius + 1) * scale)
        if x0 >= x1 or y0 >= y1:
            return None
        boxes.append(Box(x0, y0, x1, y1, mark.label))
    return tuple(boxes)


def _size(path: Path) -> tuple[int, int] | None:
    """Columns and rows; read from the file's head alone."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError):
        return None


MIAS = Source(
    title="mini-MIAS, 322 digitised films",
    layout="Info.txt and mdb001.pgm to mdb322.pgm (also as PNG or JPEG, also smaller)",
    labels="M is malignant, B is benign, NORM is normal. A circle gives a box; NORM means that there is none; a "
    "finding without coordinates makes the boxes of its image unknown. Odd numbers are left breasts, even "
    "ones right; two numbers make a patient",
    read=read,
)
