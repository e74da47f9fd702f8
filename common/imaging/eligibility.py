"""What of an archive is a screening mammogram, judged by its DICOM header alone, and why anything else is not."""

from __future__ import annotations

from enum import StrEnum

from pydicom import uid
from pydicom.dataset import Dataset

from common.imaging.header import UNKNOWN, laterality_of, modifiers_of, view_of

SCREENING_VIEWS = ("CC", "MLO")
"""The views that every screening exam has; a model that has seen few others should not be asked about them."""


class Exclusion(StrEnum):
    """Why a file is left out, in the words that are shown and counted."""

    CLOSED = "a folder that cannot be opened"
    NO_DICOM = "no DICOM file"
    DAMAGED = "its DICOM header cannot be read"
    DIRECTORY = "an index of files (DICOMDIR)"
    REPORT = "a structured report or key object selection"
    PRESENTATION_STATE = "a presentation state"
    OTHER_OBJECT = "no image: raw data, a segmentation, a document or another object"
    SEVERAL_FRAMES = "tomosynthesis or another object of several frames: not supported yet"
    PROJECTION = "a single projection of a tomosynthesis"
    COMPUTED = "a 2D view computed from a tomosynthesis: not supported yet"
    LOCALISER = "a localiser or scout"
    OTHER_MODALITY = "of another modality than mammography"
    BIOPSY = "taken during a biopsy (stereotactic)"
    SUBTRACTED = "subtracted image: shows the contrast agent, not the breast"
    HIGH_ENERGY = "a high-energy image of contrast-enhanced mammography"
    QUALITY_CONTROL = "a quality-control image"
    SPECIMEN = "a specimen"
    SCREENSHOT = "a secondary capture that does not tell side and view"
    NO_SIDE = "its header does not tell the side"
    NO_VIEW = "its header does not tell the view"
    OTHER_VIEW = "another view than CC or MLO"
    IMPLANT = "shows an implant that is not displaced"
    MAGNIFICATION = "a magnification view"
    SPOT = "a spot compression view"
    ROLLED = "a rolled view"
    TANGENTIAL = "a tangential view"
    CLEAVAGE = "a cleavage view"
    AXILLARY_TAIL = "a view of the axillary tail"
    AXILLARY_TISSUE = "a view of axillary tissue"
    INFRAMAMMARY_FOLD = "a view of the infra-mammary fold"
    ANTERIOR_COMPRESSION = "an anterior compression view"
    UNKNOWN_MODIFIER = "a view with a modifier that is not known"
    PARTIAL = "shows a part of the breast only (partial view)"
    TWIN = "for processing, and its image for presentation is here too"
    DUPLICATE = "the same image as another file (SOP Instance UID)"
    NO_PATIENT = "its header does not tell the patient"


class Remark(StrEnum):
    """What is worth knowing of an image that is kept."""

    BURNT_IN = "has burnt-in annotation"
    IMPLANT_DISPLACED = "an implant, displaced"
    NOT_MG = "its modality is not MG, but it shows a breast"


MAMMOGRAPHY = "MG"
PROJECTIONS = ("CR", "DX", "RG", "OT")
"""Modalities under which scanned films and old converters file mammograms; taken where the body part says breast."""
BREAST = ("76752008", "T-04000")
"""SNOMED CT and RT code of the breast as anatomic region."""
IMAGES = (
    uid.DigitalMammographyXRayImageStorageForPresentation,
    uid.DigitalMammographyXRayImageStorageForProcessing,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.ComputedRadiographyImageStorage,
)
REPORTS = "1.2.840.10008.5.1.4.1.1.88."
PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
SECONDARY_CAPTURES = uid.SecondaryCaptureImageStorage
TOMOSYNTHESIS = (
    uid.BreastTomosynthesisImageStorage,
    uid.BreastProjectionXRayImageStorageForPresentation,
    uid.BreastProjectionXRayImageStorageForProcessing,
)
BIOPSY_TYPES = ("STEREO_", "PREFIRE", "POSTFIRE", "POSTBIOPSY", "POSTMARKER", "TOMO_SCOUT")
"""How Image Type, value 3, begins during a biopsy (PS3.3 C.8.11.7.1.4)."""
HARMLESS = {"IMPLANT_DISPLACED", "NIPPLE_IN_PROFILE"}
"""Modifiers with which a view still shows the whole breast as screening does."""
MAGNIFIED = 1.3
"""Contact views are magnified by 1.0 to 1.1, magnification views by 1.5 to 2."""

TAGS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "NumberOfFrames", "ImageType", "PresentationIntentType",
    "BodyPartExamined", "OrganExposed", "AnatomicRegionSequence", "QualityControlImage", "SpecimenDescriptionSequence",
    "BreastImplantPresent", "PartialView", "EstimatedRadiographicMagnificationFactor", "BurnedInAnnotation",
    "ImageLaterality", "Laterality", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PatientID",
    "PatientOrientation", "ViewCodeSequence", "ViewModifierCodeSequence", "ViewPosition", "Rows", "Columns",
)  # fmt: skip
"""The attributes that :func:`exclusion` and :func:`remarks` look at."""


def exclusion(header: Dataset) -> Exclusion | None:
    """Why this is no screening mammogram; ``None`` for one.

    The coarsest reason comes first: what the object is, what it shows, how it was taken. TWIN and
    DUPLICATE take more than one header: :mod:`common.imaging.exposures`.
    """
    return _object(header) or _content(header) or _projection(header)


def remarks(header: Dataset) -> tuple[Remark, ...]:
    """What is worth knowing of an image that is kept."""
    found = {
        Remark.BURNT_IN: _says(header, "BurnedInAnnotation", "YES"),
        Remark.IMPLANT_DISPLACED: "IMPLANT_DISPLACED" in modifiers_of(header),
        Remark.NOT_MG: header.get("Modality") != MAMMOGRAPHY,
    }
    return tuple(remark for remark, holds in found.items() if holds)


def _object(header: Dataset) -> Exclusion | None:
    """By the kind of object."""
    kind = _kind(header)
    if kind == uid.MediaStorageDirectoryStorage:
        return Exclusion.DIRECTORY
    if kind.startswith(REPORTS):
        return Exclusion.REPORT
    if kind.startswith(PRESENTATION_STATES):
        return Exclusion.PRESENTATION_STATE
    if kind in TOMOSYNTHESIS or int(header.get("NumberOfFrames") or 1) > 1:
        return Exclusion.SEVERAL_FRAMES
    an_image = kind in IMAGES or kind.startswith(SECONDARY_CAPTURES)
    if "Rows" not in header or "Columns" not in header:
        return Exclusion.DAMAGED if an_image or len(header) == 0 else Exclusion.OTHER_OBJECT
    types = _image_types(header)
    if types & {"LOCALIZER", "SCOUT"}:
        return Exclusion.LOCALISER
    if header.get("Modality") != MAMMOGRAPHY and not (header.get("Modality") in PROJECTIONS and _of_breast(header)):
        return Exclusion.OTHER_MODALITY
    if kind and not an_image:
        return Exclusion.OTHER_OBJECT
    if kind.startswith(SECONDARY_CAPTURES) and not (laterality_of(header) and view_of(header)):
        return Exclusion.SCREENSHOT
    return None


def _content(header: Dataset) -> Exclusion | None:
    """By what the image shows."""
    types = _image_types(header)
    if any(value.startswith(BIOPSY_TYPES) for value in types):
        return Exclusion.BIOPSY
    if "TOMO_PROJ" in types:
        return Exclusion.PROJECTION
    if "GENERATED_2D" in types:
        return Exclusion.COMPUTED
    if "SUBTRACTION" in types:
        return Exclusion.SUBTRACTED
    if "HIGH_ENERGY" in types:
        return Exclusion.HIGH_ENERGY
    if _says(header, "QualityControlImage", "YES"):
        return Exclusion.QUALITY_CONTROL
    if header.get("SpecimenDescriptionSequence") or view_of(header) == "SPECIMEN":
        return Exclusion.SPECIMEN
    return None


def _projection(header: Dataset) -> Exclusion | None:
    """By how it was taken."""
    modifiers = modifiers_of(header)
    if _says(header, "BreastImplantPresent", "YES") and "IMPLANT_DISPLACED" not in modifiers:
        return Exclusion.IMPLANT
    if UNKNOWN in modifiers:
        return Exclusion.UNKNOWN_MODIFIER
    excluding = sorted(modifiers - HARMLESS)
    if excluding:
        return Exclusion[excluding[0]]
    if float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0) >= MAGNIFIED:
        return Exclusion.MAGNIFICATION
    if _says(header, "PartialView", "YES"):
        return Exclusion.PARTIAL
    view = view_of(header)
    if view is None:
        return Exclusion.NO_VIEW
    if view not in SCREENING_VIEWS:
        return Exclusion.OTHER_VIEW
    return Exclusion.NO_SIDE if laterality_of(header) is None else None


def _image_types(header: Dataset) -> set[str]:
    value = header.get("ImageType") or ()
    return {str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)}


def _of_breast(header: Dataset) -> bool:
    codes = {str(item.get("CodeValue", "")) for item in header.get("AnatomicRegionSequence") or ()}
    named = _says(header, "BodyPartExamined", "BREAST") or _says(header, "OrganExposed", "BREAST")
    return named or bool(codes & set(BREAST))


def _kind(header: Dataset) -> str:
    """SOP class; that of an index of files is told before the header only."""
    meta = getattr(header, "file_meta", None) or Dataset()
    return str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")


def _says(header: Dataset, name: str, word: str) -> bool:
    return str(header.get(name) or "").strip().upper() == word
