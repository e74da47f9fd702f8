"""The checks of preflight: pure functions from what was examined to findings."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from client.preflight.examination import Examination, UsableView
from client.preflight.finding import Affected, Finding, Severity, finding
from common.data.cache import CachedImage
from common.data.dataset import EDGE_TOLERANCE
from common.data.manifest import Breast
from common.data.preparation import Unusable
from common.data.split import SPLITS
from common.imaging.box import Box
from common.imaging.geometry import Geometry
from common.imaging.harmonise import OUTSIDE

CODES = {"UnreadableImageError": "unreadable", "NoBreastFoundError": "no-breast", "ManifestError": "spacing-missing"}
TISSUE_SHARE = 0.5
"""A box with less tissue than this share lies outside the breast."""
BREAST_SHARE = (0.03, 0.97)
BREAST_HEIGHT_MM = (50.0, 350.0)
SQUARE = 0.1
FEW_MALIGNANT = 10
SCREENING_PREVALENCE = 0.05

Checks = Iterator[Finding]


def find_all(examined: Examination) -> list[Finding]:
    """Every finding, errors first."""
    found = [item for check in CHECKS for item in check(examined) if item.affected]
    order = list(Severity)
    return sorted(found, key=lambda item: order.index(item.severity))


def _manifest(examined: Examination) -> Checks:
    yield finding("manifest", [Affected("", _sentence(str(error))) for error in examined.problems])


def _unusable(examined: Examination) -> Checks:
    groups: dict[str, list[Affected]] = defaultdict(list)
    for item in examined.views:
        if isinstance(item.outcome, Unusable):
            groups[CODES[item.outcome.error]].append(
                Affected(_name(examined, item.view.file), f"line {item.view.line}: {item.outcome.reason}")
            )
    for code, affected in groups.items():
        skipped = examined.task.data.unreadable == "skip" and code != "spacing-missing"
        yield finding(code, affected, Severity.WARNING if skipped else None)


def _boxes(examined: Examination) -> Checks:
    outside_image: list[Affected] = []
    outside_breast: list[Affected] = []
    for number, item in _numbered(examined):
        geometry, pixels = item.image.geometry, None
        for box in item.view.boxes or ():
            text = f"line {item.view.line}: box ({box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g})"
            affected = Affected(_name(examined, item.view.file), text, number)
            if box.x1 > geometry.stored_columns + EDGE_TOLERANCE or box.y1 > geometry.stored_rows + EDGE_TOLERANCE:
                outside_image.append(affected)
                continue
            pixels = item.image.pixels if pixels is None else pixels
            if _tissue_share(pixels, geometry, box) >= TISSUE_SHARE:
                continue
            other = Box(geometry.stored_columns - box.x1, box.y0, geometry.stored_columns - box.x0, box.y1)
            if _tissue_share(pixels, geometry, other) >= TISSUE_SHARE:
                affected = replace(affected, detail=f"{text}; mirrored it would fit")
            outside_breast.append(affected)
    yield finding("box-outside-image", outside_image)
    yield finding("box-outside-breast", outside_breast)


def _tissue_share(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float16]], geometry: Geometry, box: Box) -> float:
    """Share of a box's area, in the stored image, that is tissue in the prepared one."""
    x0, y0, x1, y1 = geometry.crop
    scale = geometry.placed[1] / (x1 - x0) * geometry.placed[0] / (y1 - y0)
    area = (box.x1 - box.x0) * (box.y1 - box.y0) * scale
    tissue = 0
    for part in geometry.boxes_to_input([box]):
        rows = slice(int(part.y0), max(int(part.y0) + 1, round(part.y1)))
        columns = slice(int(part.x0), max(int(part.x0) + 1, round(part.x1)))
        tissue += int((pixels[rows, columns] > OUTSIDE).sum())
    return tissue / max(area, 1.0)


def _labels(examined: Examination) -> Checks:
    contradictory = [
        Affected(_name(examined, item.view.file), f"line {item.view.line}: {len(item.view.boxes)} boxes", number)
        for number, item in _numbered(examined)
        if item.breast.label == "normal" and item.view.boxes
    ]
    yield finding("box-on-normal", contradictory)
    yield finding(
        "boxes-unknown",
        [
            Affected("", f"breast {breast.key}")
            for breast in examined.breasts
            if breast.target and all(view.boxes is None for view in breast.views)
        ],
    )


def _same_pictures(examined: Examination) -> Checks:
    groups: dict[str, list[tuple[int, UsableView]]] = defaultdict(list)
    for number, item in _numbered(examined):
        groups[item.image.facts.shown.digest].append((number, item))
    leaks: list[Affected] = []
    duplicates: list[Affected] = []
    for members in groups.values():
        if len(members) < 2:
            continue
        patients = {item.breast.patient_id for _, item in members}
        target = leaks if len(patients) > 1 else duplicates
        names = ", ".join(_name(examined, item.view.file) for _, item in members)
        number, first = members[0]
        whose = f"patients {', '.join(sorted(patients))}" if len(patients) > 1 else f"patient {first.breast.patient_id}"
        target.append(Affected(_name(examined, first.view.file), f"{names} ({whose})", number))
    yield finding("leak-same-picture", leaks)
    yield finding("duplicate", duplicates)


def _same_persons(examined: Examination) -> Checks:
    patients_of: dict[str, dict[str, Breast]] = defaultdict(dict)
    persons_of: dict[str, set[str]] = defaultdict(set)
    for item in examined.usable:
        person = item.image.facts.said.person
        if person:
            patients_of[person][item.breast.patient_id] = item.breast
            persons_of[item.breast.patient_id].add(person)
    leaks: list[Affected] = []
    others: list[Affected] = []
    for patients in patients_of.values():
        if len(patients) > 1:
            parted = len({breast.split for breast in patients.values()}) > 1
            text = ", ".join(f"{name} ({breast.split})" for name, breast in sorted(patients.items()))
            (leaks if parted else others).append(Affected("", f"patients {text}"))
    yield finding("leak-same-person", leaks)
    yield finding("same-person", others)
    several = [Affected("", f"patient {name}") for name, persons in sorted(persons_of.items()) if len(persons) > 1]
    yield finding("several-persons", several)


def _headers(examined: Examination) -> Checks:
    """Where the file's word is against the manifest's, or against the picture."""

    def where(test: Callable[[UsableView], str | None]) -> list[Affected]:
        return [
            Affected(_name(examined, item.view.file), f"line {item.view.line}: {text}", number)
            for number, item in _numbered(examined)
            if (text := test(item))
        ]

    def side(item: UsableView) -> str | None:
        said = item.image.facts.said.laterality
        return f"header {said}, manifest {item.breast.laterality}" if said and said != item.breast.laterality else None

    def view(item: UsableView) -> str | None:
        said = item.image.facts.said.view
        return f"header {said}, manifest {item.view.view}" if said and said != item.view.view else None

    def polarity(item: UsableView) -> str | None:
        shown, said = item.image.facts.shown, item.image.facts.said
        return f"header {said.photometric}" if shown.polarity_known and shown.seems_inverted else None

    yield finding("laterality", where(side))
    yield finding("view", where(view))
    yield finding("polarity", where(polarity))
    yield finding("not-screening", where(lambda item: item.image.facts.said.exclusion or None))
    yield finding("burnt-in", where(lambda item: "burnt in" if item.image.facts.said.burnt_in else None))
    yield finding("inverted", where(lambda item: "inverted" if item.image.geometry.inverted else None))
    yield finding("breast-implausible", where(_implausible_breast))
    yield finding("spacing-implausible", where(_implausible_spacing))
    unknown = where(lambda item: None if spacing_of(item) else "no spacing")
    yield finding("spacing-unknown", [replace(one, view=None) for one in unknown])  # a picture would not show it
    processing = where(_processing)
    total = sum(1 for item in examined.usable if item.image.facts.said.format == "DICOM")
    yield finding("mixed-intents", processing if len(processing) < total else [])


def _processing(item: UsableView) -> str | None:
    return "for processing" if item.image.facts.said.intent == "FOR PROCESSING" else None


def _implausible_breast(item: UsableView) -> str | None:
    share = item.image.facts.shown.breast_share
    return None if BREAST_SHARE[0] <= share <= BREAST_SHARE[1] else f"{share:.1%} of the picture"


def _implausible_spacing(item: UsableView) -> str | None:
    spacing = spacing_of(item)
    if spacing is None:
        return None
    _, top, _, bottom = item.image.geometry.crop
    height = (bottom - top) * spacing[0]
    plausible = BREAST_HEIGHT_MM[0] <= height <= BREAST_HEIGHT_MM[1] and abs(spacing[0] / spacing[1] - 1.0) <= SQUARE
    return None if plausible else f"{spacing[0]:g} x {spacing[1]:g} mm, the breast would be {height:.0f} mm high"


def spacing_of(item: UsableView) -> tuple[float, float] | None:
    """Spacing (row, column) in mm of the stored image: the header's, else the manifest's."""
    said = item.image.facts.said.spacing_mm
    return said or ((item.view.spacing_mm, item.view.spacing_mm) if item.view.spacing_mm else None)


def _numbers(examined: Examination) -> Checks:
    breasts = examined.breasts
    patients = {breast.patient_id for breast in breasts}
    minimum = examined.task.data.minimum_patients
    short = [Affected("", f"{len(patients)} usable patients, {minimum} are needed")] if len(patients) < minimum else []
    yield finding("too-few-patients", short)
    one_class: list[Affected] = []
    few: list[Affected] = []
    for split in SPLITS:
        targets = [breast.target for breast in breasts if breast.split == split]
        if not targets:
            continue
        if len(set(targets)) == 1:
            kind = "malignant" if targets[0] else "without malignancy"
            one_class.append(Affected("", f"{split}: all {len(targets)} breasts are {kind}"))
        elif sum(targets) < FEW_MALIGNANT:
            few.append(Affected("", f"{split}: {sum(targets)} of {len(targets)} breasts"))
    yield finding("one-class", [item for item in one_class if item.detail.startswith("train:")])
    yield finding("one-class-split", [item for item in one_class if not item.detail.startswith("train:")])
    yield finding("few-malignant", few)
    malignant = sum(breast.target for breast in breasts)
    share = malignant / max(1, len(breasts))
    enriched = [Affected("", f"{malignant} of {len(breasts)} breasts ({share:.0%})")]
    yield finding("enriched", enriched if share > SCREENING_PREVALENCE else [])


def _numbered(examined: Examination) -> Iterable[tuple[int, UsableView]]:
    for number, item in enumerate(examined.views):
        if isinstance(item.outcome, CachedImage):
            yield number, UsableView(item.breast, item.view, item.outcome)


def _name(examined: Examination, file: Path) -> str:
    return Path(os.path.relpath(file, examined.manifest.folder)).as_posix()


def _sentence(text: str) -> str:
    return " ".join(text.split())


CHECKS: tuple[Callable[[Examination], Checks], ...] = (
    _manifest,
    _unusable,
    _boxes,
    _same_pictures,
    _same_persons,
    _headers,
    _labels,
    _numbers,
)
