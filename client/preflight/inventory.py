"""What a site holds, in counts, for the eyes of the site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from client.preflight.checks import spacing_of
from client.preflight.examination import Examination
from common.data.manifest import LABELS
from common.data.split import SPLITS

Counts = dict[str, int]
UNSTATED = "not stated"


@dataclass(frozen=True)
class Inventory:
    """Counts of what will be used. ``images_by`` counts images by property, then by value."""

    patients: int
    exams: int
    breasts: int
    images: int
    listed_images: int
    """In the manifest's right rows, usable or not."""
    breasts_by_label: Counts
    breasts_by_density: Counts
    splits: dict[str, Counts]
    """For each split patients, breasts and malignant breasts."""
    images_by: dict[str, Counts]


def count(examined: Examination) -> Inventory:
    """Count patients, exams, breasts and images, and what the images are like."""
    views, breasts = list(examined.usable), examined.breasts
    said = [item.image.facts.said for item in views]
    labels = Counter(breast.label for breast in breasts)
    images_by = {
        "view": _counted(item.view.view for item in views),
        "file": _counted(" ".join(filter(None, (fact.format, fact.compression))) for fact in said),
        "machine": _counted(
            item.breast.device or " ".join(filter(None, (fact.vendor, fact.model)))
            for item, fact in zip(views, said, strict=True)
        ),
        "intent": _counted(fact.intent.lower() for fact in said),
        "bits": _counted(str(fact.bits) for fact in said),
        "spacing": _counted(f"{spacing[0]:.3g} mm" if (spacing := spacing_of(item)) else "" for item in views),
        "boxes": _counted(_boxes(item.view.boxes) for item in views),
    }
    return Inventory(
        patients=len({breast.patient_id for breast in breasts}),
        exams=len({(breast.patient_id, breast.exam_id) for breast in breasts}),
        breasts=len(breasts),
        images=len(views),
        listed_images=len(examined.views),
        breasts_by_label={label: labels[label] for label in LABELS},
        breasts_by_density=_counted(breast.density for breast in breasts),
        splits={
            split: {
                "patients": len({breast.patient_id for breast in breasts if breast.split == split}),
                "breasts": sum(breast.split == split for breast in breasts),
                "malignant": sum(breast.target for breast in breasts if breast.split == split),
            }
            for split in SPLITS
        },
        images_by=images_by,
    )


def _counted(values: Iterable[str]) -> Counts:
    return dict(Counter(value or UNSTATED for value in values).most_common())


def _boxes(boxes: tuple[object, ...] | None) -> str:
    return "unknown" if boxes is None else "with boxes" if boxes else "known to have none"
