"""What every Mammography CAD SR of ours holds (PS3.3 A.35.5): header, evidence, image library, who did what.

Source of its tree: PS3.16 TID 4000 and those below, as the functions say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from client.explanation.case.cad_library import library_entry
from client.explanation.case.sources import MAKER, PRODUCT, Source, instances, shortened, uid
from client.explanation.case.sr_items import code, container, number, reference, referenced, text
from common.code import software_version
from common.models.published import PublishedDetector, PublishedModel

MAMMOGRAPHY_CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"
DCM = codes.DCM
OPTIONAL = codes.cid6034.PresentationOptionalRenderingDeviceMayPresent
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


class Algorithm:
    """TID 4019, of what scores a breast and of what finds regions."""

    def __init__(self, published: PublishedModel | PublishedDetector, method: str, scores: str, finds: str) -> None:
        self.published, self.method = published, method
        self._scores, self._finds = scores, finds

    def scoring(self, relation: str) -> list[Dataset]:
        """What gives a breast its number."""
        return self._named(f"{MAKER}: {self._scores}", relation)

    def finding(self, relation: str) -> list[Dataset]:
        """What finds the regions."""
        return self._named(f"{MAKER}: {self._finds}", relation)

    def _named(self, name: str, relation: str) -> list[Dataset]:
        version = f"{software_version()}, model of round {self.published.round}"
        return [
            text(DCM.AlgorithmName, name, relation),
            text(DCM.AlgorithmVersion, version, relation),
            text(DCM.AlgorithmManufacturer, MAKER, relation),
            text(DCM.AlgorithmParameters, f"model SHA-256 {self.published.digest}", relation),
        ]


def cad_document(
    some: Sequence[Source],
    algorithm: Algorithm,
    overall: str,
    impressions: Sequence[Dataset],
    detection: Dataset,
    key: Sequence[str],
    number_of_series: int,
) -> Dataset:
    """TID 4000: the report of one study.

    Args:
        some: all views of the study.
        algorithm: what made it.
        overall: the impression of the exam, in words.
        impressions: of breasts (TID 4003); none without findings.
        detection: what was looked for (TID 4017).
        key: what else the content depends on than images, model and method: one UID, one content.
        number_of_series: of its series.
    """
    made = _document(some, algorithm, key, number_of_series)
    summary = WITH_FINDINGS if impressions else WITHOUT_FINDINGS
    root = container(
        DCM.MammographyCADReport,
        (
            code(DCM.LanguageOfContentItemAndDescendants, Code("en", "RFC5646", "English"), MODIFIER),
            container(DCM.ImageLibrary, [library_entry(source) for source in some]),
            code(
                DCM.CADProcessingAndFindingsSummary, summary, "CONTAINS",
                [text(DCM.ImpressionDescription, overall, PROPERTY), *algorithm.scoring(PROPERTY), *impressions],
            ),
            _performed(detection),
            _analysed(some, algorithm),
        ),
        relation="",
        template="4000",
    )  # fmt: skip
    made.update(root)
    return made


def points_of_any_number(low: int) -> Code:
    """Units as TID 4006 and 4023 print them, with a letter: no code is made for a certain number of points."""
    return Code(f"{{{low}:n}}", "UCUM", f"range: {low}:n")


def detection_performed(
    some: Sequence[Source], what: Code, algorithm: Algorithm, axes: tuple[Code, Code], points: Sequence[Dataset]
) -> Dataset:
    """TID 4017 and 4023: ``what`` was looked for in all images, and what the operating points after point 0 are.

    Args:
        some: all views of the study.
        what: was looked for.
        algorithm: that did.
        axes: of the table of points, x before y.
        points: from :func:`operating_point`, point 0 first.
    """
    named = [code(name, axis, "CONTAINS") for name, axis in zip((DCM.XConcept, DCM.YConcept), axes, strict=True)]
    unit = Code("[arb'U]", "UCUM", "arbitrary unit")
    return code(
        DCM.DetectionPerformed, what, "CONTAINS",
        [
            *algorithm.finding(PROPERTY),
            *_all_images(some),
            number(DCM.MaximumCADOperatingPoint, len(points) - 1, unit, PROPERTY),
            container(DCM.CADOperatingPointTable, [*named, *points], relation=PROPERTY),
        ],
    )  # fmt: skip


def operating_point(at: int, description: str, values: Sequence[Dataset] = ()) -> Dataset:
    """A row of TID 4023: its number, what it is in words, and its values on the axes."""
    inside = [text(DCM.CADOperatingPointDescription, description, PROPERTY), *values]
    return number(DCM.CADOperatingPoint, at, points_of_any_number(0), "CONTAINS", inside)


def _performed(detection: Dataset) -> Dataset:
    """TID 4015."""
    inside = container(DCM.SuccessfulDetections, [detection], relation="INFERRED FROM")
    return code(DCM.SummaryOfDetections, codes.cid6042.Succeeded, "CONTAINS", [inside])


def _analysed(some: Sequence[Source], algorithm: Algorithm) -> Dataset:
    """TID 4016 and 4018: breasts and exam were scored."""
    each = [
        code(DCM.AnalysisPerformed, what, "CONTAINS", [*algorithm.scoring(PROPERTY), *_all_images(some)])
        for what in ANALYSES
    ]
    inside = container(DCM.SuccessfulAnalyses, each, relation="INFERRED FROM")
    return code(DCM.SummaryOfAnalyses, codes.cid6042.Succeeded, "CONTAINS", [inside])


def _all_images(some: Sequence[Source]) -> list[Dataset]:
    return [reference((*LIBRARY, place), PROPERTY) for place in range(1, len(some) + 1)]


def _document(some: Sequence[Source], algorithm: Algorithm, key: Sequence[str], number_of_series: int) -> Dataset:
    first, now = some[0].original, datetime.now()
    published, method = algorithm.published, algorithm.method
    full = [*instances(some), *key]
    made = Dataset()
    for keyword in (*IF_THERE, *OF_THE_PATIENT, *OF_THE_STUDY):
        if keyword in first:
            made[keyword] = first[keyword]
        elif keyword not in IF_THERE:
            setattr(made, keyword, None)
    made.SOPClassUID, made.SOPInstanceUID = MAMMOGRAPHY_CAD_SR, uid(published, method, *full, "cad")
    made.Modality, made.SeriesInstanceUID = "SR", uid(published, method, *full, "cad", "series")
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
