"""What a check can find: severity, meaning and what to do, each under a stable code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """``error``: training would stop or its figures would be wrong. ``warning``: look at it. ``note``: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Affected:
    """One thing a finding is about. ``file`` and ``detail`` stay in the site's own report."""

    file: str
    """Relative to the manifest; empty where it is not about one file."""
    detail: str
    view: int | None = None
    """Which of the examined views, for its picture."""


@dataclass(frozen=True)
class Finding:
    """Something that whoever answers for the data should know."""

    code: str
    severity: Severity
    what: str
    meaning: str
    do: str
    affected: tuple[Affected, ...]

    @property
    def count(self) -> int:
        """How many things it is about."""
        return len(self.affected)

    @property
    def spoken(self) -> bool:
        """Whether its details are counts and sizes, so that they may stand on a terminal and in JSON."""
        return self.code in SPOKEN

    @property
    def headline(self) -> str:
        """What and how many; names no file and no patient."""
        if self.spoken:
            return f"{self.what}: " + "; ".join(one.detail for one in self.affected)
        return f"{self.what}: {self.count}"


@dataclass(frozen=True)
class Kind:
    """A finding before anything was found."""

    severity: Severity
    what: str
    meaning: str
    do: str


SPOKEN = frozenset({"too-few-patients", "one-class", "one-class-split", "few-malignant", "enriched", "disk", "memory"})

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE

KINDS: dict[str, Kind] = {
    "manifest": Kind(
        E, "wrong rows of the manifest", "They cannot be used, and training refuses to start.",
        "Correct the rows; each is listed with what is wrong.",
    ),
    "unreadable": Kind(
        E, "images that cannot be read", "They are missing, damaged or of a kind that is not supported.",
        "Restore the files or remove their rows; data.unreadable=skip trains without them.",
    ),
    "no-breast": Kind(
        E, "images without a breast", "They are blank or uniform.",
        "Look at the files and remove their rows; data.unreadable=skip trains without them.",
    ),
    "spacing-missing": Kind(
        E, "images without the pixel spacing that this run needs", "imaging.spacing_mm is set: every image needs one.",
        "Fill the column spacing_mm, or set imaging.spacing_mm=null.",
    ),
    "box-outside-image": Kind(
        E, "boxes that reach outside their image",
        "They belong to another image or another size of it; training refuses.",
        "Give pixels of the stored image, columns (x) first; leave boxes empty if unknown.",
    ),
    "leak-same-picture": Kind(
        E, "pictures that stand under several patients",
        "The same pixels have two patient identifiers: a model may be tested on what it was trained on.",
        "Keep one of the rows, or give both the same patient_id.",
    ),
    "leak-same-person": Kind(
        E, "persons with patient identifiers in different splits",
        "The DICOM headers name one person (identifier, name, birth date) where the manifest names several patients.",
        "Give all exams of a person the same patient_id.",
    ),
    "too-few-patients": Kind(
        E, "too few patients", "The site takes no part in runs (data.minimum_patients).",
        "Add patients, or lower data.minimum_patients.",
    ),
    "one-class": Kind(
        E, "training patients of one class only", "Nothing can be learnt.",
        "Add patients of the other class, or change the fractions that are held back.",
    ),
    "disk": Kind(
        E, "not enough room on the disk", "The prepared images of the remaining files do not fit.",
        "Free some space, or choose smaller images (imaging.height, imaging.width).",
    ),
    "same-person": Kind(
        W, "persons with several patient identifiers",
        "They happen to be in one split now; a new split may part them.", "Give all exams of a person one patient_id.",
    ),
    "several-persons": Kind(
        W, "patient identifiers of several persons",
        "The DICOM headers name different persons: rows may be mixed up. De-identified files can look so too.",
        "Compare the listed files with the archive.",
    ),
    "duplicate": Kind(
        W, "pictures that are there twice", "The same pixels in two files count twice.",
        "Keep one of the rows.",
    ),
    "box-outside-breast": Kind(
        W, "boxes outside the breast",
        "Less than half of the box is tissue: a wrong image, side or coordinate, or a breast that was not found whole. "
        "Where the mirrored box would fit, the picture may have been flipped after it was marked.",
        "Look at the pictures below; correct the box, or leave boxes empty.",
    ),
    "box-on-normal": Kind(
        W, "images with boxes on breasts labelled normal", "Either the label or the box is wrong.",
        "Correct one of the two.",
    ),
    "polarity": Kind(
        W, "images whose header and looks disagree on polarity",
        "The header says that dense tissue is bright, the picture looks inverted. The header is believed.",
        "Look at the pictures below: dense tissue must be bright. Correct PhotometricInterpretation if it is not.",
    ),
    "laterality": Kind(
        W, "images whose header names the other side", "A row may belong to the other breast, and so may its label.",
        "Compare with the archive and correct the manifest.",
    ),
    "view": Kind(
        W, "images whose header names another view", "The wrong file may stand in the row.",
        "Compare with the archive and correct the manifest.",
    ),
    "spacing-implausible": Kind(
        W, "images with an implausible pixel spacing",
        "The breast would be lower than 50 mm or taller than 350 mm, or columns and rows differ by more than a tenth.",
        "Correct spacing_mm of the manifest, or ask who made the files.",
    ),
    "breast-implausible": Kind(
        W, "images with an implausibly small or large breast",
        "Under 3 % or over 97 % of the picture: a magnified view, a cut-out, or a breast that was not found.",
        "Look at the pictures below.",
    ),
    "not-screening": Kind(
        W, "files that are no screening mammograms",
        "By their headers: another modality, a spot or magnified view, an implant, a specimen, another view than CC or "
        "MLO. An import would leave them out; what stands in the manifest is used.",
        "Look at the pictures below and remove their rows, unless you want them.",
    ),
    "burnt-in": Kind(
        W, "files with text burnt into their pixels", "Names or dates may be readable in the picture.",
        "Look at the pictures below; they are shown in this report and never leave the site.",
    ),
    "one-class-split": Kind(
        W, "splits of one class only", "Nothing can be measured on them.",
        "Add patients, change the fractions, or give splits in the manifest.",
    ),
    "few-malignant": Kind(
        W, "splits with fewer than 10 malignant breasts", "Intervals will be wide, small counts may be suppressed.",
        "Add patients if you can; read the intervals.",
    ),
    "memory": Kind(
        W, "little memory", "The trial of training took more than half of what is free.",
        "Lower training.batch_size or the size of the images.",
    ),
    "inverted": Kind(
        N, "images stored inverted", "Dense tissue is dark in the file and no header says so; they are set right.",
        "Nothing; look at some of the pictures below.",
    ),
    "mixed-intents": Kind(
        N, "images for processing among others for presentation",
        "Raw and processed images look different even after preparation.", "Export one kind if you have both.",
    ),
    "spacing-unknown": Kind(
        N, "images without a pixel spacing", "Sizes in mm are not known for them; this run does not need them.",
        "Fill the column spacing_mm if you know it.",
    ),
    "boxes-unknown": Kind(
        N, "malignant breasts without known boxes",
        "They train the classifier; they take no part in the measure of explanations and in training a detector.",
        "Fill the column boxes where marks exist; [] says that there are none.",
    ),
    "enriched": Kind(
        N, "more malignant breasts than in screening",
        "Probabilities learnt here are too high for screening; ranking is not affected.", "Nothing, if it is known.",
    ),
}  # fmt: skip


def finding(code: str, affected: list[Affected], severity: Severity | None = None) -> Finding:
    """A finding of a kind; ``severity`` where it depends on the run's settings."""
    kind = KINDS[code]
    return Finding(code, severity or kind.severity, kind.what, kind.meaning, kind.do, tuple(affected))
