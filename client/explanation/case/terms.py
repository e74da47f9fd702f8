"""What regions, maps and scores in DICOM objects are: of a classifier where it looked, of a detector marks."""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from client.explanation.case.marks import WorkingPoint

SCHEME = "99XAIFED"
SALIENCE = hd.sr.CodedConcept("SALIENCE", SCHEME, "Region that an explanation of a neural network points at")
CANCER = hd.sr.CodedConcept("PMALIGNANT", SCHEME, "Probability of malignancy given by a neural network")
MARK_SCORE = hd.sr.CodedConcept("MARKSCORE", SCHEME, "Score of a mark, 0 to 1, given by a neural network")
BREAST_SCORE = hd.sr.CodedConcept("BREASTSCORE", SCHEME, "Score of a breast, 0 to 1, given by a mass detector")


@dataclass(frozen=True)
class Terms:
    """For the objects of a case."""

    outlined: str
    """What the regions are, for readers."""
    mapped: str
    """What the map is of."""
    finding: hd.sr.CodedConcept | Code
    """What a region is."""
    strength: hd.sr.CodedConcept
    """What a region's number is."""
    breast: hd.sr.CodedConcept
    """What a breast's number is."""
    labelled: bool
    """Whether a viewer shows a region's number beside it."""
    key: tuple[str, ...]
    """What else the objects depend on than model, method and originals: part of their UIDs."""


def classifier_terms(method: str) -> Terms:
    """Regions are where a map by ``method`` is hot."""
    return Terms(f"hot regions by {method}", method, SALIENCE, SALIENCE, CANCER, False, ())


def detector_terms(method: str, point: WorkingPoint) -> Terms:
    """Regions are the marks at a working point."""
    return Terms(
        "marks of a mass detector", f"{method} of the surest mark", codes.cid6014.MammographyBreastDensity,
        MARK_SCORE, BREAST_SCORE, True, (f"marks from {point.threshold:.6g}",),
    )  # fmt: skip
