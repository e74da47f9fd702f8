"""A phantom site rearranged into the layouts of public data sets, with the annotation files as they are published."""

import csv
import io
import json
import plistlib
import shutil

import numpy as np
import pydicom
from PIL import Image

from common.imaging.reading import read_image


def _write(path, rows, columns, separator=","):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, delimiter=separator, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stream.getvalue())


def images_of(breasts):
    return [(breast, view) for breast in breasts for view in breast.views]


def as_dicom(source, target, **tags):
    """Copy a DICOM file with other tags; ``None`` removes one."""
    data = pydicom.dcmread(source)
    for name, value in tags.items():
        if value is None:
            if name in data:
                del data[name]
        else:
            setattr(data, name, value)
    target.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(target)


def as_picture(source, target, size=None):
    pixels = (255 * read_image(source).pixels).astype(np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(target) if size is None else Image.fromarray(pixels).resize(size).save(target)


def mask_like(source, target, box, size=None):
    """A CBIS outline: a Secondary Capture of 0 and 255, as large as the mammogram (or of ``size``)."""
    data = pydicom.dcmread(source)
    pixels = np.zeros(size or (data.Rows, data.Columns), np.uint8)
    pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = 255
    if size:
        pixels[:] = np.arange(size[1], dtype=np.uint8)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation, data.PixelData = 7, 0, pixels.tobytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(target)


def mias(breasts, folder):
    lines = ["some words before", ""]
    for number, breast in enumerate(breasts, 1):
        view = next(view for view in breast.views if view.view == "MLO")
        name = f"mdb{2 * number - (breast.laterality == 'L'):03d}"
        as_picture(view.file, folder / f"{name}.pgm", (1024, 1024))
        if breast.label == "normal":
            lines.append(f"{name} {'FGD'[number % 3]} NORM")
            continue
        severity = "M" if breast.label == "malignant" else "B"
        rows, columns = read_image(view.file).pixels.shape
        for box in view.boxes:
            x, y = (box.x0 + box.x1) / 2 * 1024 / columns, (box.y0 + box.y1) / 2 * 1024 / rows
            lines.append(f"{name} G CIRC {severity} {x:.0f} {1023 - y:.0f} {40}")
    (folder / "Info.txt").write_text("\n".join(lines))


CBIS_COLUMNS = [
    "patient_id", "breast_density", "left or right breast", "image view", "abnormality id", "abnormality type",
    "mass shape", "mass margins", "assessment", "pathology", "subtlety", "image file path", "cropped image file path",
    "ROI mask file path",
]  # fmt: skip


def cbis(breasts, folder):
    """The tables' paths are those of the old download, with line breaks; the files lie as TCIA sends them today."""
    tables = {"train": [], "test": []}
    for number, (breast, view) in enumerate(images_of(breasts)):
        side = {"L": "LEFT", "R": "RIGHT"}[breast.laterality]
        split = "test" if breast.split == "test" else "train"
        case = f"Mass-{'Training' if split == 'train' else 'Test'}_{breast.patient_id}_{side}_{view.view}"
        tables[split].append(
            {
                "patient_id": breast.patient_id,
                "breast_density": "2",
                "left or right breast": side,
                "image view": view.view,
                "abnormality id": "1",
                "pathology": "MALIGNANT" if breast.label == "malignant" else "BENIGN_WITHOUT_CALLBACK",
                "image file path": f"{case}/1.2.3/4.5.6/000000.dcm",
                "cropped image file path": f"{case}_1/1.2.3/4.5.6/00000{number % 2}.dcm\n",
                "ROI mask file path": f"{case}_1/1.2.3/4.5.6/00000{1 - number % 2}.dcm\n",
            }
        )
        as_dicom(
            view.file,
            folder / "CBIS-DDSM" / case / "10-04-2016-DDSM-1" / "1.000000-full mammogram images-1" / "1-1.dcm",
            Laterality=None,
            PatientOrientation=view.view,
        )
        outline = folder / "CBIS-DDSM" / f"{case}_1" / "10-04-2016-DDSM-2" / "1.000000-ROI mask images-2"
        mask_like(view.file, outline / f"1-{1 + number % 2}.dcm", view.boxes[0])
        mask_like(view.file, outline / f"1-{2 - number % 2}.dcm", view.boxes[0], size=(40, 50))
    for split, rows in tables.items():
        _write(folder / f"mass_case_description_{split}_set.csv", rows, CBIS_COLUMNS)


def cmmd(breasts, folder):
    rows = []
    for breast in breasts:
        rows.append(
            {
                "ID1": breast.patient_id,
                "LeftRight": breast.laterality,
                "Age": "50",
                "number": "2",
                "abnormality": "mass",
                "classification": breast.label.capitalize(),
            }
        )
        for number, view in enumerate(breast.views, 1):
            as_dicom(
                view.file,
                folder / "CMMD" / breast.patient_id / "07-18-2010-NA-1" / "1.000000-NA-2" / f"1-{number}.dcm",
                PatientID=breast.patient_id,
                ViewPosition=None,
            )
            outline = [
                {"x": view.boxes[0].x0, "y": view.boxes[0].y0},
                {"x": view.boxes[0].x1, "y": view.boxes[0].y0 + 1},
                {"x": view.boxes[0].x0 + 1, "y": view.boxes[0].y1},
            ]
            name = f"{breast.patient_id}_{view.view}_{breast.laterality}_AnnotationFile.json"
            (folder / name).write_text(json.dumps([{"cgPoints": outline}]))
    _write(folder / "CMMD_clinicaldata_revision.csv", rows, [*rows[0], "subtype"])


def inbreast(breasts, folder):
    rows = []
    for number, (breast, view) in enumerate(images_of(breasts), 20586900):
        rows.append(
            {
                "Patient ID": "removed",
                "Patient age": "removed",
                "Laterality": breast.laterality,
                "View": view.view,
                "Acquisition date": "201001",
                "File Name": str(number),
                "ACR": "3",
                "Bi-Rads": {"malignant": "4b", "benign": "2", "normal": "1"}[breast.label],
            }
        )
        file = f"{number}_{breast.patient_id}_MG_{breast.laterality}_{view.view[:2]}_ANON.dcm"
        as_dicom(view.file, folder / "AllDICOMs" / file)
        if view.boxes:
            corners = [f"({box.x0:f}, {box.y0:f})" for box in view.boxes] + [
                f"({box.x1:f}, {box.y1:f})" for box in view.boxes
            ]
            (folder / "AllXML").mkdir(exist_ok=True)
            (folder / "AllXML" / f"{number}.xml").write_bytes(
                plistlib.dumps({"Images": [{"ROIs": [{"Name": "Mass", "NumberOfPoints": 2, "Point_px": corners}]}]})
            )
    _write(folder / "INbreast.csv", [*rows, {}], list(rows[0]), separator=";")


def vindr(breasts, folder):
    images, findings = [], []
    for number, (breast, view) in enumerate(images_of(breasts)):
        row = {
            "study_id": breast.patient_id,
            "series_id": "s",
            "image_id": f"i{number}",
            "laterality": breast.laterality,
            "view_position": view.view,
            "breast_birads": "BI-RADS " + {"malignant": "5", "benign": "3", "normal": "1"}[breast.label],
            "breast_density": "DENSITY C",
            "split": "test" if breast.split == "test" else "training",
        }
        images.append(row)
        target = folder / "images" / breast.patient_id / f"i{number}.dicom"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(view.file, target)
        for box in view.boxes or (None,):
            edges = {"xmin": box.x0, "ymin": box.y0, "xmax": box.x1, "ymax": box.y1} if box else {}
            categories = "['Mass']" if box else "['No Finding']"
            findings.append(row | edges | {"finding_categories": categories, "finding_birads": row["breast_birads"]})
    columns = [*images[0], "height", "width"]
    _write(folder / "breast-level_annotations.csv", images, columns)
    columns += ["finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax"]
    _write(folder / "finding_annotations.csv", findings, columns)


def rsna(breasts, folder):
    rows = []
    for number, (breast, view) in enumerate(images_of(breasts), 700):
        rows.append(
            {
                "site_id": "2",
                "patient_id": breast.patient_id,
                "image_id": str(number),
                "laterality": breast.laterality,
                "view": view.view,
                "age": "61.0",
                "cancer": str(int(breast.label == "malignant")),
                "biopsy": str(int(breast.label != "normal")),
                "machine_id": "29",
            }
        )
        target = folder / "train_images" / breast.patient_id / f"{number}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(view.file, target)
    _write(folder / "train.csv", rows, list(rows[0]))


def cdd_cesm(breasts, folder):
    labels, regions = [], []
    for number, breast in enumerate(breasts, 1):
        for view in breast.views:
            for kind in ("DM", "CM"):
                name = f"P{number}_{breast.laterality}_{kind}_{view.view}"
                label = breast.label.capitalize()
                labels.append({"Image_name": f" {name}", "Pathology Classification/ Follow up": label, "Age": "50"})
                as_picture(view.file, folder / "Low energy images of CDD-CESM" / f"{name}.jpg")
            for box in view.boxes:
                centre, half = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), (box.x1 - box.x0, box.y1 - box.y0)
                shape = {"name": "ellipse", "cx": centre[0], "cy": centre[1], "rx": half[0] / 2, "ry": half[1] / 2}
                dm = f"P{number}_{breast.laterality}_DM_{view.view} .jpg"
                regions.append({"#filename": dm, "region_shape_attributes": json.dumps(shape)})
    _write(folder / "Radiology-manual-annotations.csv", labels, list(labels[0]))
    columns = ["#filename", "file_size", "region_count", "region_shape_attributes", "region_attributes"]
    _write(folder / "Radiology_hand_drawn_segmentations_v2.csv", regions, columns)
