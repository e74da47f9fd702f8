"""A rendered view as a Digital Mammography X-Ray Image, for presentation or for processing (DICOM PS3.3 A.26, A.27)."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from simulations.phantom.patient import Patient, ViewName
from simulations.phantom.render import View
from simulations.phantom.sites import native_rows

FOR_PRESENTATION = UID("1.2.840.10008.5.1.4.1.1.1.2")
FOR_PROCESSING = UID("1.2.840.10008.5.1.4.1.1.1.2.1")
GENERATOR = "xai-federation phantom"

_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
_ORIENTATION = {
    ("L", "CC"): ["A", "R"],
    ("R", "CC"): ["P", "L"],
    ("L", "MLO"): ["A", "FR"],
    ("R", "MLO"): ["P", "FL"],
}
_DATE = "20260101"


def encode(patient: Patient, view: ViewName, picture: View, version: str, parameters: str) -> bytes:
    """DICOM file of a view, byte for byte the same for the same arguments.

    UIDs are derived from ``parameters`` (a digest of what made the picture), site, patient and view; the only
    date is a constant, the name says that nobody real is shown.
    """
    seed = [GENERATOR, version, parameters, patient.site.name, str(patient.index)]
    acquisition = picture.acquisition
    processing = acquisition.intent == "FOR PROCESSING"
    ds = Dataset()
    ds.SOPClassUID = FOR_PROCESSING if processing else FOR_PRESENTATION
    ds.SOPInstanceUID = _uid([*seed, view, "instance"])
    _patient_and_study(ds, patient, seed)
    _equipment(ds, patient, version)
    _exposure(ds, patient, picture)
    _projection(ds, patient, view)
    _pixels(ds, picture)
    ds.SeriesInstanceUID = _uid([*seed, view, "series"])
    ds.FrameOfReferenceUID = _uid([*seed, view, "frame"])
    ds.SeriesNumber = 1 if view == "CC" else 2
    ds.InstanceNumber = 1
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid([GENERATOR])
    meta.ImplementationVersionName = "XAIFED_PHANTOM"
    ds.file_meta = meta
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _uid(parts: list[str]) -> UID:
    """A UID under 2.25 made from a digest, so that the same picture has the same UID everywhere."""
    return UID(f"2.25.{int.from_bytes(hashlib.sha256('/'.join(parts).encode()).digest()[:16], 'big')}")


def _patient_and_study(ds: Dataset, patient: Patient, seed: list[str]) -> None:
    digest = hashlib.sha256("/".join(seed).encode()).hexdigest()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = PersonName(f"PHANTOM^SIMULATED {patient.site.name} {patient.index:06d}")
    ds.PatientID = patient.identifier
    ds.PatientBirthDate = f"{2025 - patient.age:04d}0701"
    ds.PatientSex = "F"
    ds.PatientAge = f"{patient.age:03d}Y"
    ds.PatientComments = "Computer-generated phantom, not a human being"
    ds.StudyInstanceUID = _uid([*seed, "study"])
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "120000"
    ds.AccessionNumber = digest[:12].upper()
    ds.StudyID = "1"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "SIMULATED MAMMOGRAPHY"


def _equipment(ds: Dataset, patient: Patient, version: str) -> None:
    ds.Modality = "MG"
    ds.Manufacturer = "SIMULATED"
    ds.ManufacturerModelName = patient.site.device
    ds.InstitutionName = f"SIMULATED SITE {patient.site.name}"
    ds.DeviceSerialNumber = f"PHANTOM-{patient.site.site_id}"
    ds.SoftwareVersions = f"{GENERATOR} {version}"


def _exposure(ds: Dataset, patient: Patient, picture: View) -> None:
    thickness = patient.thickness_mm
    exposure = 60.0 * float(np.exp((thickness - 50.0) / 40.0))
    ds.KVP = f"{26 + thickness / 15:.0f}"
    ds.Exposure = round(exposure)
    ds.ExposureTime = round(exposure * 10)
    ds.XRayTubeCurrent = 100
    ds.ExposureInuAs = round(exposure * 1000)
    ds.AnodeTargetMaterial = "TUNGSTEN"
    ds.FilterMaterial = "RHODIUM"
    ds.FocalSpots = "0.3"
    ds.BodyPartThickness = f"{thickness:.1f}"
    ds.CompressionForce = f"{80 + thickness:.1f}"
    ds.DistanceSourceToDetector = "660"
    ds.DistanceSourceToPatient = "660"
    ds.EstimatedRadiographicMagnificationFactor = "1"
    ds.DetectorType = "DIRECT" if picture.acquisition.correlated_noise < 0.5 else "STORAGE"
    ds.DetectorConfiguration = "AREA"
    ds.DetectorDescription = "Simulated detector"
    ds.DetectorID = f"PHANTOM-{patient.site.site_id}"
    ds.DetectorTemperature = "25"
    ds.ExposureControlMode = "AUTOMATIC"
    ds.AcquisitionDeviceProcessingDescription = "Simulated"


def _projection(ds: Dataset, patient: Patient, view: ViewName) -> None:
    ds.BodyPartExamined = "BREAST"
    ds.ImageLaterality = patient.laterality
    ds.PatientOrientation = _ORIENTATION[patient.laterality, view]
    ds.PositionerType = "MAMMOGRAPHIC"
    angle = 0 if view == "CC" else 50 if patient.laterality == "R" else -50
    ds.PositionerPrimaryAngle = str(angle)
    ds.OrganExposed = "BREAST"
    ds.BreastImplantPresent = "NO"
    ds.PartialView = "NO"
    ds.ViewPosition = view
    code = _code(*_VIEW_CODES[view], "SCT")
    code.ViewModifierCodeSequence = Sequence([])
    ds.ViewCodeSequence = Sequence([code])
    ds.AnatomicRegionSequence = Sequence([_code("76752008", "Breast", "SCT")])
    ds.AcquisitionContextSequence = Sequence([])
    ds.PositionReferenceIndicator = ""


def _code(value: str, meaning: str, scheme: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _pixels(ds: Dataset, picture: View) -> None:
    acquisition = picture.acquisition
    processing = acquisition.intent == "FOR PROCESSING"
    rows, columns = picture.stored.shape
    full = 2**acquisition.bits - 1
    ds.ImageType = ["ORIGINAL" if processing else "DERIVED", "PRIMARY", ""]
    ds.PresentationIntentType = acquisition.intent
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = acquisition.photometric
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, acquisition.bits, acquisition.bits - 1
    ds.PixelRepresentation = 0
    ds.ImagerPixelSpacing = [f"{picture.spacing_mm:.6f}"] * 2
    ds.PixelSpacing = [f"{picture.spacing_mm:.6f}"] * 2
    ds.PixelSpacingCalibrationType = "GEOMETRY"
    ds.PixelSpacingCalibrationDescription = "Rendered at the plane of the detector, without magnification"
    native = acquisition.field_mm / native_rows(acquisition)
    ds.DetectorElementPhysicalSize = [f"{native:.4f}"] * 2
    ds.DetectorElementSpacing = [f"{native:.4f}"] * 2
    ds.FieldOfViewShape = "RECTANGLE"
    ds.FieldOfViewDimensions = [str(round(acquisition.field_mm)), str(round(acquisition.field_mm * 0.75))]
    ds.FieldOfViewOrigin = ["0", "0"]
    ds.FieldOfViewRotation = "0"
    ds.FieldOfViewHorizontalFlip = "NO"
    ds.PixelIntensityRelationship = "LIN" if processing else "LOG"
    dark_is_dense = acquisition.photometric == "MONOCHROME1"
    ds.PixelIntensityRelationshipSign = 1 if dark_is_dense else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "INVERSE" if dark_is_dense else "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.BurnedInAnnotation = "YES"
    ds.QualityControlImage = "NO"
    if not processing:
        width = acquisition.span * full
        ds.WindowCenter = f"{acquisition.offset + width / 2 + 0.5:.1f}"
        ds.WindowWidth = f"{width + 1:.1f}"
        ds.VOILUTFunction = "LINEAR"
        ds.WindowCenterWidthExplanation = "Full display range"
    ds.PixelData = picture.stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
