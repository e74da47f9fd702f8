"""What is a screening mammogram and what is not, each rule with the header that it is meant for."""

from pathlib import Path

import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from common.imaging.eligibility import HARMLESS, TAGS, Exclusion, Remark, exclusion, remarks
from common.imaging.exposures import Exposure, exposure_of, redundant
from common.imaging.header import MODIFIERS, UNKNOWN

REAL = Path("../shared/data/dicom")


def item(value):
    found = Dataset()
    found.CodeValue = value
    return found


def mammogram(modifiers=(), **tags):
    """A screening view as a modern machine describes it; ``None`` removes a tag."""
    header = Dataset()
    view = item("399368009")
    view.ViewModifierCodeSequence = [item(value) for value in modifiers]
    described = {
        "SOPClassUID": uid.DigitalMammographyXRayImageStorageForPresentation,
        "Modality": "MG",
        "ImageType": ["DERIVED", "PRIMARY", ""],
        "ImageLaterality": "L",
        "ViewCodeSequence": [view],
        "BreastImplantPresent": "NO",
        "PartialView": "NO",
        "BurnedInAnnotation": "NO",
        "QualityControlImage": "NO",
        "EstimatedRadiographicMagnificationFactor": "1.07",
        "Rows": 100,
        "Columns": 80,
        **tags,
    }
    for name, value in described.items():
        if value is not None:
            setattr(header, name, value)
    return header


def image_type(*values):
    return {"ImageType": ["ORIGINAL", "PRIMARY", *values]}


BREAST = {"BodyPartExamined": "BREAST"}
CASES = [
    ({"SOPClassUID": uid.MediaStorageDirectoryStorage}, Exclusion.DIRECTORY),
    ({"SOPClassUID": uid.MammographyCADSRStorage, "Modality": "SR"}, Exclusion.REPORT),
    ({"SOPClassUID": uid.XRayRadiationDoseSRStorage}, Exclusion.REPORT),
    ({"SOPClassUID": uid.KeyObjectSelectionDocumentStorage, "Modality": "KO"}, Exclusion.REPORT),
    ({"SOPClassUID": uid.GrayscaleSoftcopyPresentationStateStorage}, Exclusion.PRESENTATION_STATE),
    ({"SOPClassUID": uid.RawDataStorage, "Rows": None}, Exclusion.OTHER_OBJECT),
    ({"SOPClassUID": uid.EncapsulatedPDFStorage, "Rows": None, "Columns": None}, Exclusion.OTHER_OBJECT),
    ({"Rows": None}, Exclusion.DAMAGED),
    ({"SOPClassUID": uid.SecondaryCaptureImageStorage, "Columns": None}, Exclusion.DAMAGED),
    ({"SOPClassUID": uid.XRayAngiographicImageStorage}, Exclusion.OTHER_OBJECT),
    ({"SOPClassUID": uid.BreastTomosynthesisImageStorage}, Exclusion.SEVERAL_FRAMES),
    ({"SOPClassUID": uid.BreastProjectionXRayImageStorageForProcessing}, Exclusion.SEVERAL_FRAMES),
    ({"NumberOfFrames": 60}, Exclusion.SEVERAL_FRAMES),
    (image_type("TOMO_PROJ", "LEFT"), Exclusion.PROJECTION),
    (image_type("TOMOSYNTHESIS", "GENERATED_2D"), Exclusion.COMPUTED),
    (image_type("", "SUBTRACTION"), Exclusion.SUBTRACTED),
    (image_type("", "", "HIGH_ENERGY"), Exclusion.HIGH_ENERGY),
    (image_type("", "", "LOW_ENERGY"), None),
    (image_type("LOCALIZER"), Exclusion.LOCALISER),
    ({"SOPClassUID": uid.CTImageStorage, "Modality": "CT", **image_type("LOCALIZER")}, Exclusion.LOCALISER),
    (image_type("STEREO_SCOUT"), Exclusion.BIOPSY),
    (image_type("PREFIRE_MINUS"), Exclusion.BIOPSY),
    (image_type("POSTMARKER"), Exclusion.BIOPSY),
    ({"Modality": "US"}, Exclusion.OTHER_MODALITY),
    ({"Modality": "MR", **BREAST}, Exclusion.OTHER_MODALITY),
    ({"Modality": None}, Exclusion.OTHER_MODALITY),
    ({"Modality": "CR"}, Exclusion.OTHER_MODALITY),
    ({"Modality": "CR", "SOPClassUID": uid.ComputedRadiographyImageStorage, **BREAST}, None),
    ({"Modality": "DX", "BodyPartExamined": "CHEST"}, Exclusion.OTHER_MODALITY),
    ({"Modality": "RG", "SOPClassUID": uid.SecondaryCaptureImageStorage, **BREAST}, None),
    ({"Modality": "OT", "AnatomicRegionSequence": [item("T-04000")]}, None),
    ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, None),
    ({"SOPClassUID": uid.SecondaryCaptureImageStorage, "ViewCodeSequence": None}, Exclusion.SCREENSHOT),
    ({"SOPClassUID": uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage}, None),
    ({"QualityControlImage": "YES"}, Exclusion.QUALITY_CONTROL),
    ({"ViewCodeSequence": [item("127457009")]}, Exclusion.SPECIMEN),
    ({"ViewCodeSequence": [item("G-8310")]}, Exclusion.SPECIMEN),
    ({"SpecimenDescriptionSequence": [Dataset()]}, Exclusion.SPECIMEN),
    ({"BreastImplantPresent": "YES"}, Exclusion.IMPLANT),
    ({"BreastImplantPresent": "YES", "modifiers": ["399209000"]}, None),
    ({"BreastImplantPresent": "YES", "modifiers": ["R-102D5"]}, None),
    ({"modifiers": ["399209000", "399055006"]}, Exclusion.SPOT),
    ({"modifiers": ["442581004"]}, None),
    ({"modifiers": ["R-102D6"]}, Exclusion.MAGNIFICATION),
    ({"modifiers": ["415670009"]}, Exclusion.ROLLED),
    ({"modifiers": ["99-1"]}, Exclusion.UNKNOWN_MODIFIER),
    ({"EstimatedRadiographicMagnificationFactor": "1.8"}, Exclusion.MAGNIFICATION),
    ({"EstimatedRadiographicMagnificationFactor": ""}, None),
    ({"PartialView": "YES"}, Exclusion.PARTIAL),
    ({"ViewCodeSequence": [item("399192008")]}, Exclusion.OTHER_VIEW),
    ({"ViewCodeSequence": None, "ViewPosition": "LM"}, Exclusion.OTHER_VIEW),
    ({"ViewCodeSequence": None}, Exclusion.NO_VIEW),
    ({"ImageLaterality": None}, Exclusion.NO_SIDE),
    ({"ImageLaterality": "B"}, Exclusion.NO_SIDE),
    ({"BurnedInAnnotation": "YES"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("tags", "expected"), CASES)
def test_every_rule(tags, expected):
    assert exclusion(mammogram(**tags)) == expected


@pytest.mark.parametrize("code", MODIFIERS)
def test_every_modifier_excludes_under_its_own_name_or_is_harmless(code):
    name = MODIFIERS[code]
    assert exclusion(mammogram([code])) == (None if name in HARMLESS else Exclusion[name])


def test_every_reason_that_a_header_can_give_has_a_case():
    of_files = {Exclusion.CLOSED, Exclusion.NO_DICOM, Exclusion.NO_PATIENT, Exclusion.TWIN, Exclusion.DUPLICATE}
    by_modifier = {Exclusion[name] for name in {*MODIFIERS.values()} - HARMLESS - {UNKNOWN}}
    assert {reason for _, reason in CASES if reason} | by_modifier | of_files == set(Exclusion)
    assert len({reason.value for reason in Exclusion}) == len(Exclusion)


@pytest.mark.parametrize(("tags", "expected"), CASES)
def test_no_other_attribute_is_looked_at_than_those_that_are_read(tags, expected):
    header = mammogram(**tags)
    for element in list(header):
        if element.keyword not in TAGS:
            del header[element.tag]
    assert exclusion(header) == expected


def test_a_header_that_holds_nothing_is_damaged_but_an_index_tells_its_kind_before_it():
    header = Dataset()
    assert exclusion(header) == Exclusion.DAMAGED
    header.file_meta = Dataset()
    header.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    assert exclusion(header) == Exclusion.DIRECTORY


def test_remarks():
    assert remarks(mammogram()) == ()
    assert remarks(mammogram(["399209000"], BurnedInAnnotation="YES", Modality="RG")) == tuple(Remark)


def test_the_real_secondary_capture_is_a_mammogram_and_the_magnified_test_pattern_is_not():
    if not REAL.exists():
        pytest.skip("the shared real data are not here")
    found = pydicom.dcmread(REAL / "WG04_MG1_J2KI.dcm", stop_before_pixels=True)
    assert exclusion(found) is None
    assert remarks(found) == (Remark.NOT_MG,)
    found = pydicom.dcmread(REAL / "Clunie_MG_ForPresentation_pixelspacing_testpattern.dcm")
    assert exclusion(found) == Exclusion.MAGNIFICATION  # 1.5, as it says


def shot(instance, raw=False, view="CC", exam="E", **more):
    return Exposure(instance, exam, "L", view, raw, **more)


def marks(*names):
    return frozenset(names)


@pytest.mark.parametrize(
    ("raw", "shown", "twins"),
    [
        ({"second": "20250102101112"}, {"second": "20250102101112"}, True),
        ({"second": "20250102101112"}, {"second": "20250102101113"}, False),
        ({"second": "20250102101112"}, {"second": "20250102101113", "sources": marks("raw")}, True),
        ({"second": "20250102101112"}, {}, True),
        ({}, {}, True),
        ({"events": marks("1")}, {"events": marks("1", "2"), "second": "20250102101112"}, True),
        ({"events": marks("1")}, {"events": marks("2")}, False),
        ({"events": marks("1"), "second": "1"}, {"events": marks("2"), "second": "1"}, False),
        ({}, {"view": "MLO"}, False),
        ({}, {"exam": "F"}, False),
        ({}, {"raw": True}, False),
    ],
)
def test_a_processing_image_falls_away_where_its_exposure_is_there_for_presentation(raw, shown, twins):
    exposures = [shot("raw", True, **raw), shot("shown", **shown)]
    assert redundant(exposures) == ({0: Exclusion.TWIN} if twins else {})
    assert redundant(exposures[::-1]) == ({1: Exclusion.TWIN} if twins else {})


def test_repeated_exposures_of_a_view_both_stay_and_the_same_file_twice_does_not():
    exposures = [shot("1", second="1"), shot("2", second="2"), shot("1", second="1"), shot(""), shot("")]
    assert redundant(exposures) == {2: Exclusion.DUPLICATE}


def test_a_copy_of_a_presentation_image_under_another_name_is_no_twin_for_its_own_copy():
    exposures = [shot("shown"), shot("shown"), shot("raw", True), shot("raw", True)]
    assert redundant(exposures) == {1: Exclusion.DUPLICATE, 2: Exclusion.TWIN, 3: Exclusion.DUPLICATE}


def test_exposures_are_read_from_the_header():
    source = Dataset()
    source.ReferencedSOPInstanceUID = "1.2"
    header = mammogram(
        SOPInstanceUID="1.3",
        PresentationIntentType="FOR PROCESSING",
        SourceImageSequence=[source],
        IrradiationEventUID=["1.4", "1.5"],
        AcquisitionDate="20250102",
        AcquisitionTime="101112.123",
    )
    expected = Exposure("1.3", "E", "L", "MLO", True, marks("1.2"), marks("1.4", "1.5"), "20250102101112")
    assert exposure_of(header, "E", "L", "MLO") == expected
    header.AcquisitionDateTime = "20250102101113.000000"
    header.IrradiationEventUID = "1.4"
    found = exposure_of(header, "E", "L", "MLO")
    assert (found.second, found.events) == ("20250102101113", marks("1.4"))
    assert exposure_of(mammogram(), "E", "L", "MLO") == Exposure("", "E", "L", "MLO", False)
