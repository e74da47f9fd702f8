"""A phantom site as a hospital's PACS would export it: nested folders, odd names, and much that is no mammogram."""

import csv
import json
import random

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet

from common.imaging.eligibility import Exclusion

RAW = uid.DigitalMammographyXRayImageStorageForProcessing


def export(breasts, folder, seed=0):
    """Copy the images of ``breasts``; returns where each went: file by image, the header of each."""
    dice = random.Random(seed)
    placed = {}
    for number, (breast, view) in enumerate((one, view) for one in breasts for view in one.views):
        header = pydicom.dcmread(view.file)
        header.PatientID = breast.patient_id
        name = dice.choice(["IM{:04d}", "{:08X}", "Bild {:d}.DCM", "{:05d}.dcm", "画像{:d}"]).format(number)
        path = folder / f"PAT{breast.patient_id[-3:]}" / "20260101" / dice.choice(["SER1", "", "数"]) / name
        save(header, path)
        placed[path] = header
    return placed


def save(header, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def changed(path, instance=True, **tags):
    """The header of a file with other tags and a new SOP Instance UID."""
    header = pydicom.dcmread(path)
    if instance:
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    for name, value in tags.items():
        setattr(header, name, value)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    return header


def coded(path, view="399162004", modifier=None, **tags):
    header = changed(path, **tags)
    header.ViewCodeSequence[0].CodeValue = view
    if modifier:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = modifier, "SCT"
        header.ViewCodeSequence[0].ViewModifierCodeSequence = [item]
    return header


def document(sop_class, modality, patient):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = sop_class
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = uid.generate_uid()
    header.Modality, header.PatientID = modality, patient
    return header


def mess(folder, placed):
    """Put beside the mammograms what lies in real exports; returns the reason expected of each file."""
    one, two, *_ = placed
    patient = placed[one].PatientID
    scout = {"SOPClassUID": uid.CTImageStorage, "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    stack = {"SOPClassUID": uid.BreastTomosynthesisImageStorage, "NumberOfFrames": 2}
    added = {
        "report": (document(uid.MammographyCADSRStorage, "SR", patient), Exclusion.REPORT),
        "dose.dcm": (document(uid.XRayRadiationDoseSRStorage, "SR", patient), Exclusion.REPORT),
        "ps1": (document(uid.GrayscaleSoftcopyPresentationStateStorage, "PR", patient), Exclusion.PRESENTATION_STATE),
        "raw.dat": (document(uid.RawDataStorage, "MG", patient), Exclusion.OTHER_OBJECT),
        "scout": (changed(one, **scout), Exclusion.LOCALISER),
        "us": (changed(one, SOPClassUID=uid.UltrasoundImageStorage, Modality="US"), Exclusion.OTHER_MODALITY),
        "tomo": (changed(one, **stack), Exclusion.SEVERAL_FRAMES),
        "spot": (coded(one, modifier="399055006"), Exclusion.SPOT),
        "mag": (changed(one, EstimatedRadiographicMagnificationFactor="1.8"), Exclusion.MAGNIFICATION),
        "specimen": (coded(one, view="127457009"), Exclusion.SPECIMEN),
        "implant": (changed(one, BreastImplantPresent="YES"), Exclusion.IMPLANT),
        "lateral": (coded(one, view="399260004"), Exclusion.OTHER_VIEW),
        "twin/raw1": (changed(one, SOPClassUID=RAW, PresentationIntentType="FOR PROCESSING"), Exclusion.TWIN),
        "twin/raw2": (changed(two, SOPClassUID=RAW, PresentationIntentType="FOR PROCESSING"), Exclusion.TWIN),
        "zcopy": (changed(one, instance=False), Exclusion.DUPLICATE),
    }  # fmt: skip
    expected = {}
    for name, (header, reason) in added.items():
        save(header, folder / "ZZ" / name)
        expected[f"ZZ/{name}"] = reason
    index = FileSet()
    index.add(pydicom.dcmread(one))
    index.write(folder.parent / "index")
    junk = {
        "DICOMDIR": ((folder.parent / "index" / "DICOMDIR").read_bytes(), Exclusion.DIRECTORY),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0" * 200, Exclusion.NO_DICOM),
        ".DS_Store": (b"", Exclusion.NO_DICOM),
        "README.TXT": (b"exported by the PACS", Exclusion.NO_DICOM),
        "cut.dcm": (one.read_bytes()[:200], Exclusion.DAMAGED),
        "noise": (bytes(128) + b"DICM" + np.random.default_rng(0).bytes(2000), Exclusion.DAMAGED),
        "empty.dcm": (b"", Exclusion.DAMAGED),
    }
    for name, (data, reason) in junk.items():
        (folder / name).write_bytes(data)
        expected[name] = reason
    return expected


def write_labels(folder, rows, columns=None, separator=","):
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def label_rows(breasts, placed, exam="StudyInstanceUID"):
    """A row a breast, and one more for each image with boxes, named by its SOP Instance UID."""
    rows = []
    for breast in breasts:
        headers = [header for header in placed.values() if header.PatientID == breast.patient_id]
        row = {
            "patient_id": breast.patient_id,
            "exam": str(headers[0].get(exam)),
            "laterality": breast.laterality,
            "label": breast.label,
            "density": breast.density,
        }
        rows.append(row)
        for view in breast.views:
            (header,) = [header for header in headers if header.ViewPosition == view.view]
            boxes = [{"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1} for box in view.boxes]
            rows.append({**row, "image": header.SOPInstanceUID, "boxes": json.dumps(boxes)})
    return rows
