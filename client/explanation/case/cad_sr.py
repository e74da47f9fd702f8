"""A case as a Mammography CAD SR (PS3.3 A.35.5), which mammography workstations know; PS3.16 TID 4000 and those below.

The network finds no densities, it scores a breast. So a hot region of its map is a *Selected region* with a description
(TID 4013), for which the standard knows no probability, and the score is the breast's impression (TID 4002). Which
breasts' regions a workstation shows is told by CAD Operating Points (TID 4023). None is shown unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from client.explanation.case.cad_library import library_entry
from client.explanation.case.case import CaseBreast
from client.explanation.case.page import per_cent
from client.explanation.case.regions import HOT, Points, Region
from client.explanation.case.reliability import Reliability
from client.explanation.case.sources import (
    MAKER,
    PRODUCT,
    Source,
    instances,
    region_name,
    shortened,
    tracking_uid,
    uid,
)
from client.explanation.case.sr_items import (
    PERCENT,
    code,
    container,
    number,
    reference,
    referenced,
    shape,
    text,
    uid_reference,
)
from common.code import software_version
from common.models.published import PublishedModel

MAMMOGRAPHY_CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"
THRESHOLDS = (0.5, 0.1, 0.0)
"""CAD Operating Points 1, 2, ...: regions are shown of breasts of this probability and above; at point 0 of none."""
DCM = codes.DCM
OPTIONAL, REGION = codes.cid6034.PresentationOptionalRenderingDeviceMayPresent, codes.cid6014.SelectedRegion
PROPERTY, MODIFIER = "HAS PROPERTIES", "HAS CONCEPT MOD"
WITH_FINDINGS = codes.cid6047.AllAlgorithmsSucceededWithFindings
WITHOUT_FINDINGS = codes.cid6047.AllAlgorithmsSucceededWithoutFindings
ANALYSES = (
    codes.cid6043.IndividualImpressionRecommendationAnalysis,
    codes.cid6043.OverallImpressionRecommendationAnalysis,
)
SIDE_NAMES = {"L": "left", "R": "right"}
LIBRARY = (1, 2)
"""Place of the image library in the report."""
UNVERIFIED = "Research software; nobody has verified this."
OF_THE_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
IF_THERE = ("SpecificCharacterSet", "IssuerOfPatientID")
OF_THE_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")


def cad_report(
    some: Sequence[Source], published: PublishedModel, method: str, others: Reliability, number_of_series: int
) -> Dataset:
    """The report of one study.

    Args:
        some: all views of the study.
        published: the model.
        method: whose hot regions.
        others: scores of other patients at this site, which say what an operating point means there.
        number_of_series: of its series.
    """
    made = _document(some, published, method, others, number_of_series)
    algorithm = _Algorithm(published, method)
    breasts = list(dict.fromkeys(source.item for source in some))
    found = [one for item in breasts if (one := _impression(item, some, algorithm)) is not None]
    summary = WITH_FINDINGS if found else WITHOUT_FINDINGS
    scores = ", ".join(f"{SIDE_NAMES[item.breast.laterality]} breast {per_cent(item.probability)}" for item in breasts)
    overall = text(
        DCM.ImpressionDescription, f"Probability of malignancy that a network gave: {scores}. {UNVERIFIED}", PROPERTY
    )
    root = container(
        DCM.MammographyCADReport,
        (
            code(DCM.LanguageOfContentItemAndDescendants, Code("en", "RFC5646", "English"), MODIFIER),
            container(DCM.ImageLibrary, [library_entry(source) for source in some]),
            code(
                DCM.CADProcessingAndFindingsSummary, summary, "CONTAINS",
                [overall, *algorithm.scoring(PROPERTY), *found],
            ),
            _performed(some, algorithm, others),
            _analysed(some, algorithm),
        ),
        relation="",
        template="4000",
    )  # fmt: skip
    made.update(root)
    return made


class _Algorithm:
    """TID 4019, of the score and of the map."""

    def __init__(self, published: PublishedModel, method: str) -> None:
        self.published, self.method = published, method

    def scoring(self, relation: str) -> list[Dataset]:
        """What gives a breast its probability."""
        return self._named(f"{MAKER}: breast classifier", relation)

    def mapping(self, relation: str) -> list[Dataset]:
        """What finds the regions."""
        return self._named(f"{MAKER}: {self.method} of a breast classifier", relation)

    def _named(self, name: str, relation: str) -> list[Dataset]:
        version = f"{software_version()}, model of round {self.published.round}"
        return [
            text(DCM.AlgorithmName, name, relation),
            text(DCM.AlgorithmVersion, version, relation),
            text(DCM.AlgorithmManufacturer, MAKER, relation),
            text(DCM.AlgorithmParameters, f"model SHA-256 {self.published.digest}", relation),
        ]


def _impression(item: CaseBreast, some: Sequence[Source], algorithm: _Algorithm) -> Dataset | None:
    """TID 4003 of a breast; the standard has none without a region."""
    regions = [
        _finding(source, image_place, place, region, some, algorithm)
        for image_place, source in enumerate(some, 1)
        if source.item is item
        for place, region in enumerate(source.regions, 1)
    ]
    if not regions:
        return None
    what = f"Malignancy of the {SIDE_NAMES[item.breast.laterality]} breast, as a network sees it. {UNVERIFIED}"
    return container(
        DCM.IndividualImpressionRecommendation,
        [
            code(DCM.RenderingIntent, OPTIONAL, MODIFIER),
            text(DCM.ImpressionDescription, what, "CONTAINS"),
            number(DCM.CertaintyOfImpression, 100 * item.probability, PERCENT, "CONTAINS"),
            *algorithm.scoring("CONTAINS"),
            *regions,
        ],
        relation="INFERRED FROM",
    )


def _finding(
    source: Source, image_place: int, place: int, region: Region, some: Sequence[Source], algorithm: _Algorithm
) -> Dataset:
    """TID 4006 of a region."""
    side, what = source.item.breast.laterality, region_name(source, place)
    point = next(at for at, least in enumerate(THRESHOLDS, 1) if source.item.probability >= least)
    image_item = [reference((*LIBRARY, image_place), "SELECTED FROM")]
    tracked = tracking_uid(algorithm.published, algorithm.method, some, side, what)
    description = (
        f"Where {algorithm.method} says that the network looked: up to {100 * region.peak:.0f} % of the map's maximum "
        f"over the breast's views, at least {100 * HOT:.0f} % of it inside the outline."
    )
    operating_point = number(DCM.CADOperatingPoint, point, _range(1), PROPERTY)
    return code(
        DCM.SingleImageFinding, REGION, "CONTAINS",
        [
            code(DCM.RenderingIntent, OPTIONAL, MODIFIER, [operating_point]),
            text(DCM.TrackingIdentifier, f"{side} {what}", "HAS OBS CONTEXT"),
            uid_reference(DCM.TrackingUniqueIdentifier, tracked, "HAS OBS CONTEXT"),
            *algorithm.mapping(PROPERTY),
            shape(DCM.Center, "POINT", centroid(region.outline), PROPERTY, image_item),
            shape(DCM.Outline, "POLYLINE", region.outline, PROPERTY, image_item),
            text(DCM.SelectedRegionDescription, description, PROPERTY),
        ],
    )  # fmt: skip


def _range(low: int) -> Code:
    """As TID 4006 and 4023 print it, with a letter: no code is made for a certain number of points."""
    return Code(f"{{{low}:n}}", "UCUM", f"range: {low}:n")


def _performed(some: Sequence[Source], algorithm: _Algorithm, others: Reliability) -> Dataset:
    """TID 4015, 4017 and 4023: regions were looked for in all images, and what the operating points are."""
    n = len(THRESHOLDS)
    points = [_operating_point(0, None, others)]
    points += [_operating_point(at, least, others) for at, least in enumerate(THRESHOLDS, 1)]
    axes = [
        code(DCM.XConcept, DCM.ProbabilityOfCancer, "CONTAINS"),
        code(DCM.YConcept, DCM.CaseSpecificity, "CONTAINS"),
    ]
    one = code(
        DCM.DetectionPerformed, REGION, "CONTAINS",
        [
            *algorithm.mapping(PROPERTY),
            *_all_images(some),
            number(DCM.MaximumCADOperatingPoint, n, Code("[arb'U]", "UCUM", "arbitrary unit"), PROPERTY),
            container(DCM.CADOperatingPointTable, [*axes, *points], relation=PROPERTY),
        ],
    )  # fmt: skip
    inside = container(DCM.SuccessfulDetections, [one], relation="INFERRED FROM")
    return code(DCM.SummaryOfDetections, codes.cid6042.Succeeded, "CONTAINS", [inside])


def _operating_point(at: int, least: float | None, others: Reliability) -> Dataset:
    """A row of TID 4023; its specificity is the share of other breasts of this site of which nothing is shown."""
    if least is None:
        inside = [text(DCM.CADOperatingPointDescription, "No region is shown.", PROPERTY)]
        return number(DCM.CADOperatingPoint, at, _range(0), "CONTAINS", inside)
    malignant, other = _reached(least, others)
    description = (
        f"Regions of breasts whose probability of malignancy is {100 * least:.0f} % or more. Of this site's test "
        f"breasts {malignant[0]} of {malignant[1]} malignant and {other[0]} of {other[1]} others have it, this patient "
        "left out; the specificity counts breasts, not exams."
    )
    inside = [
        text(DCM.CADOperatingPointDescription, description, PROPERTY),
        number(DCM.ProbabilityOfCancer, 100 * least, PERCENT, PROPERTY),
    ]
    if other[1]:
        specificity = 100 * (1 - other[0] / other[1])
        inside.append(number(DCM.CaseSpecificity, specificity, PERCENT, PROPERTY))
    return number(DCM.CADOperatingPoint, at, _range(0), "CONTAINS", inside)


def _reached(least: float, others: Reliability) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many of the site's other malignant breasts, and of its others, have this probability or more; of how many."""
    malignant, other = (
        (int(np.count_nonzero(scores >= least)), len(scores)) for scores in (others.malignant, others.others)
    )
    return malignant, other


def _analysed(some: Sequence[Source], algorithm: _Algorithm) -> Dataset:
    """TID 4016 and 4018: breasts and exam were scored."""
    each = [
        code(DCM.AnalysisPerformed, what, "CONTAINS", [*algorithm.scoring(PROPERTY), *_all_images(some)])
        for what in ANALYSES
    ]
    inside = container(DCM.SuccessfulAnalyses, each, relation="INFERRED FROM")
    return code(DCM.SummaryOfAnalyses, codes.cid6042.Succeeded, "CONTAINS", [inside])


def _all_images(some: Sequence[Source]) -> list[Dataset]:
    return [reference((*LIBRARY, place), PROPERTY) for place in range(1, len(some) + 1)]


def centroid(outline: Points) -> Points:
    """Middle of the area inside a closed outline ``(N, 2)``, as ``(1, 2)``."""
    ahead = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * ahead[:, 1] - ahead[:, 0] * outline[:, 1]
    middle: Points = ((outline + ahead) * cross[:, None]).sum(axis=0, keepdims=True) / (3 * cross.sum())
    return middle


def _document(
    some: Sequence[Source], published: PublishedModel, method: str, others: Reliability, number_of_series: int
) -> Dataset:
    """Everything but the content. What the points' table counts is in its UID: one UID, one content."""
    first, now = some[0].original, datetime.now()
    key = [*instances(some), *(str(_reached(least, others)) for least in THRESHOLDS)]
    made = Dataset()
    for keyword in (*IF_THERE, *OF_THE_PATIENT, *OF_THE_STUDY):
        if keyword in first:
            made[keyword] = first[keyword]
        elif keyword not in IF_THERE:
            setattr(made, keyword, None)
    made.SOPClassUID, made.SOPInstanceUID = MAMMOGRAPHY_CAD_SR, uid(published, method, *key, "cad")
    made.Modality, made.SeriesInstanceUID = "SR", uid(published, method, *key, "cad", "series")
    made.SeriesNumber, made.SeriesDescription = number_of_series, shortened(f"{MAKER}: CAD report")
    made.ReferencedPerformedProcedureStepSequence = []
    made.Manufacturer, made.ManufacturerModelName = MAKER, PRODUCT
    made.SoftwareVersions, made.DeviceSerialNumber = software_version(), published.digest[:16]
    made.InstanceNumber = 1
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.ContentDate, made.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.PerformedProcedureCodeSequence = []
    made.CurrentRequestedProcedureEvidenceSequence = [_evidence(some)]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _evidence(some: Sequence[Source]) -> Dataset:
    """The study, its series, their images (PS3.3 table C.17-3a)."""
    study, series = Dataset(), dict[str, Dataset]()
    study.StudyInstanceUID = some[0].original.StudyInstanceUID
    for source in some:
        name = str(source.original.SeriesInstanceUID)
        if name not in series:
            series[name] = Dataset()
            series[name].SeriesInstanceUID, series[name].ReferencedSOPSequence = name, []
        series[name].ReferencedSOPSequence.append(referenced(source.original))
    study.ReferencedSeriesSequence = list(series.values())
    return study
