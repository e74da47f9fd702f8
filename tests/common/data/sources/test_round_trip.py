"""Phantom site, layout of a public data set, import: the same patients, labels, views and boxes come back."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from client.importing import import_site
from common.data.manifest import read_manifest
from common.data.manifest_writer import manifest_text
from common.data.sources import SOURCES
from common.errors import (
    BoxOutsideImageError,
    ConfigurationError,
    EmptySiteError,
    ManifestError,
    MissingColumnError,
    UnknownLabelError,
)
from common.imaging.reading import read_image
from simulations.phantom.dataset import write_site
from tests.common.data.sources import layouts

FORMATS = Path("../shared/data/formats")
SITES = Path("../shared/data/sites")
WITHOUT_NORMAL = ("cbis-ddsm", "cmmd")
LAYOUTS = {
    "cbis-ddsm": layouts.cbis,
    "cmmd": layouts.cmmd,
    "inbreast": layouts.inbreast,
    "vindr-mammo": layouts.vindr,
    "rsna": layouts.rsna,
    "mias": layouts.mias,
    "cdd-cesm": layouts.cdd_cesm,
}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Fourteen exams: patients as CMMD and INbreast name theirs, the last three to be tested on."""
    folder = tmp_path_factory.mktemp("phantom")
    write_site("TUH", 14, folder, rows=128, workers=1)
    breasts = [
        breast
        for breast in read_manifest(folder, "TUH").breasts
        if all(view.boxes is not None for view in breast.views)
    ]
    assert {breast.label for breast in breasts} == {"normal", "benign", "malignant"}
    return breasts


def named(breasts, pattern):
    return [
        replace(breast, patient_id=pattern.format(number), split="test" if number > 10 else "train")
        for number, breast in enumerate(breasts, 1)
    ]


def content(breasts):
    """What must survive: one entry a view."""
    return {
        (breast.patient_id, breast.laterality, view.view): (
            breast.label,
            None if view.boxes is None else [(box.x0, box.y0, box.x1, box.y1) for box in view.boxes],
        )
        for breast in breasts
        for view in breast.views
    }


PATTERNS = {"cbis-ddsm": "P_{:05d}", "cmmd": "D1-{:04d}", "inbreast": "{:016x}", "cdd-cesm": "{}", "mias": "{:03d}"}


@pytest.fixture
def archive(request, phantom, tmp_path):
    name = request.param
    breasts = named(phantom, PATTERNS.get(name, "p{}"))
    if name in WITHOUT_NORMAL:
        breasts = [breast for breast in breasts if breast.label != "normal"]
    (tmp_path / name).mkdir()
    LAYOUTS[name](breasts, tmp_path / name)
    return name, breasts, tmp_path / name


@pytest.mark.parametrize("archive", ["cbis-ddsm", "cmmd", "inbreast", "vindr-mammo", "cdd-cesm"], indirect=True)
def test_patients_labels_views_and_boxes_come_back(archive, tmp_path):
    name, breasts, folder = archive
    site = import_site(name, folder, "X", tmp_path / "site")
    found, expected = content(site.manifest.breasts), content(breasts)
    assert found.keys() == expected.keys()
    for key, (label, boxes) in expected.items():
        assert found[key][0] == label, key
        assert len(found[key][1]) == len(boxes), key
        for one, other in zip(found[key][1], boxes, strict=True):
            assert one == pytest.approx(other, abs=1e-3), key


@pytest.mark.parametrize("archive", LAYOUTS, indirect=True)
def test_every_imported_file_is_the_image_of_its_patient(archive, tmp_path):
    name, breasts, folder = archive
    site = import_site(name, folder, "X", tmp_path / "site")
    original = {
        (breast.patient_id, breast.laterality, view.view): read_image(view.file).pixels
        for breast in breasts
        for view in breast.views
    }
    for breast in site.manifest.breasts:
        for view in breast.views:
            expected = original[breast.patient_id, breast.laterality, view.view]
            found = read_image(view.file).pixels
            if name == "mias":
                found = layouts.np.asarray(Image.fromarray(found).resize(expected.shape[::-1], Image.Resampling.BOX))
            assert abs(found - expected).mean() < 0.02


@pytest.mark.parametrize("archive", ["rsna"], indirect=True)
def test_rsna_has_labels_but_no_boxes(archive, tmp_path):
    _, breasts, folder = archive
    found = content(import_site("rsna", folder, "X", tmp_path / "site").manifest.breasts)
    assert found == {key: (label, None) for key, (label, _) in content(breasts).items()}


@pytest.mark.parametrize("archive", ["mias"], indirect=True)
def test_mias_circles_become_boxes_counted_from_the_top(archive, tmp_path):
    _, breasts, folder = archive
    found = content(import_site("mias", folder, "X", tmp_path / "site").manifest.breasts)
    for breast in breasts:
        view = next(view for view in breast.views if view.view == "MLO")
        label, boxes = found[breast.patient_id, breast.laterality, "MLO"]
        assert label == breast.label
        rows, columns = read_image(view.file).pixels.shape
        assert len(boxes) == len(view.boxes)
        for (x0, y0, x1, y1), box in zip(boxes, view.boxes, strict=True):
            assert (x0 + x1) / 2 == pytest.approx((box.x0 + box.x1) / 2 * 1024 / columns, abs=1)
            assert (y0 + y1) / 2 == pytest.approx((box.y0 + box.y1) / 2 * 1024 / rows, abs=1)
            assert x1 - x0 == y1 - y0 == 81


@pytest.mark.parametrize("archive", ["cbis-ddsm", "vindr-mammo"], indirect=True)
def test_the_official_split_is_kept(archive, tmp_path):
    name, breasts, folder = archive
    manifest = import_site(name, folder, "X", tmp_path / "site").manifest
    assert {b.patient_id: b.split for b in manifest.breasts} == {b.patient_id: b.split for b in breasts}


@pytest.mark.parametrize("archive", ["cbis-ddsm"], indirect=True)
def test_a_cbis_patient_on_both_sides_of_the_split_is_tested_on(archive, tmp_path):
    _, _, folder = archive
    test, train = (folder / f"mass_case_description_{split}_set.csv" for split in ("test", "train"))
    tested = next(csv.DictReader(test.open(newline="")))["patient_id"]
    other = next(csv.DictReader(train.open(newline="")))["patient_id"]
    train.write_text(train.read_text().replace(f"{other},", f"{tested},"))
    manifest = import_site("cbis-ddsm", folder, "X", tmp_path / "site").manifest
    assert {breast.split for breast in manifest.breasts if breast.patient_id == tested} == {"test"}


@pytest.mark.parametrize("archive", ["cbis-ddsm"], indirect=True)
def test_a_missing_outline_makes_the_boxes_unknown(archive, tmp_path):
    _, _, folder = archive
    for path in folder.rglob("*_CC_1/**/*.dcm"):
        path.unlink()
    for key, (_, boxes) in content(import_site("cbis-ddsm", folder, "X", tmp_path / "site").manifest.breasts).items():
        assert (boxes is None) == (key[2] == "CC")


@pytest.mark.parametrize("archive", ["cmmd"], indirect=True)
def test_a_cmmd_breast_without_diagnosis_is_left_out_and_listed(archive, tmp_path):
    _, breasts, folder = archive
    table = folder / "CMMD_clinicaldata_revision.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith(breasts[0].patient_id)))
    site = import_site("cmmd", folder, "X", tmp_path / "site")
    assert site.reasons == Counter({"the table has no diagnosis for this breast": 2})
    assert breasts[0].patient_id not in site.manifest.patients
    assert (tmp_path / "site" / "left-out.csv").read_text().count(breasts[0].patient_id) == 2


@pytest.mark.parametrize("archive", ["cmmd"], indirect=True)
def test_cmmd_without_outlines_has_unknown_boxes(archive, tmp_path):
    _, _, folder = archive
    for path in folder.glob("*.json"):
        path.unlink()
    manifest = import_site("cmmd", folder, "X", tmp_path / "site").manifest
    assert {view.boxes for breast in manifest.breasts for view in breast.views} == {None}


@pytest.mark.parametrize("archive", ["cdd-cesm"], indirect=True)
def test_subtracted_images_are_left_out(archive, tmp_path):
    _, breasts, folder = archive
    reasons = import_site("cdd-cesm", folder, "X", tmp_path / "site").reasons
    assert reasons == Counter({"subtracted image: shows the contrast agent, not the breast": 2 * len(breasts)})


def test_a_manifest_elsewhere_is_written_for_the_site_with_paths_that_hold(site, tmp_path):
    folder = site("malignant", "normal", "benign")
    found = import_site("manifest", folder, "X", tmp_path / "far" / "away").manifest
    before = read_manifest(folder, "X")
    assert content(found.breasts) == content(before.breasts)
    assert all(view.file.is_file() for breast in found.breasts for view in breast.views)


@pytest.mark.parametrize("archive", ["vindr-mammo"], indirect=True)
def test_a_second_import_changes_nothing_and_another_needs_leave(archive, tmp_path):
    name, _, folder = archive
    file = import_site(name, folder, "X", tmp_path / "site").file
    before = file.read_text()
    import_site(name, folder, "X", tmp_path / "site")
    assert file.read_text() == before
    table = folder / "breast-level_annotations.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-2]))
    with pytest.raises(ConfigurationError, match="--replace"):
        import_site(name, folder, "X", tmp_path / "site")
    assert file.read_text() == before
    import_site(name, folder, "X", tmp_path / "site", replace=True)
    assert file.read_text() != before


def spoil(folder, pattern, old, new):
    path = next(folder.rglob(pattern))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


SPOILT = [
    ("vindr-mammo", "breast-level*", "breast_birads", "birads", MissingColumnError, "'birads' looks like"),
    ("vindr-mammo", "breast-level*", "BI-RADS 1", "BI-RADS 7", UnknownLabelError, "BI-RADS 7"),
    (
        "vindr-mammo",
        "finding*",
        "['Mass'],BI-RADS 5,",
        "['Mass'],BI-RADS 5,x",
        BoxOutsideImageError,
        "annotations.csv:",
    ),
    ("rsna", "train.csv", ",0,", ",maybe,", UnknownLabelError, "maybe"),
    ("inbreast", "*.xml", "<string>(", "<string>[", ManifestError, "no point"),
    ("inbreast", "INbreast.csv", ";4b", ";0", UnknownLabelError, "Bi-Rads '0'"),
    ("cmmd", "*.json", "cgPoints", "points", ManifestError, "cgPoints"),
    ("cmmd", "*.csv", "Malignant", "Maligant", UnknownLabelError, "Maligant"),
    ("cbis-ddsm", "*train*.csv", "MALIGNANT", "UNKNOWN", UnknownLabelError, "UNKNOWN"),
    ("cdd-cesm", "*segmentations*", "ellipse", "blob", ManifestError, "blob"),
    ("mias", "Info.txt", "CIRC M", "CIRC X", ManifestError, "X "),
]


@pytest.mark.parametrize(
    ("archive", "file", "old", "new", "error", "words"),
    SPOILT,
    indirect=["archive"],
    ids=[f"{case[0]}-{case[3]}" for case in SPOILT],
)
def test_a_spoilt_annotation_is_an_error_by_name_and_writes_nothing(archive, tmp_path, file, old, new, error, words):
    name, _, folder = archive
    spoil(folder, file, old, new)
    with pytest.raises(error) as raised:
        import_site(name, folder, "X", tmp_path / "site")
    assert words in str(raised.value)
    assert not (tmp_path / "site" / "manifest.csv").exists()


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_wrong_folder_says_what_is_missing(name, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(ManifestError) as raised:
            import_site(name, folder, "X", tmp_path / "site")
        assert str(folder) in str(raised.value)


def test_an_unknown_source_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'inbreast'"):
        import_site("INbrest", tmp_path, "X", tmp_path / "site")


@pytest.mark.parametrize("archive", ["rsna"], indirect=True)
def test_an_archive_without_its_images_says_so(archive, tmp_path):
    _, _, folder = archive
    for path in folder.rglob("*.dcm"):
        path.unlink()
    with pytest.raises(EmptySiteError, match="its image is not in the folder"):
        import_site("rsna", folder, "X", tmp_path / "site")


def real(path):
    if not path.exists():
        pytest.skip("the shared real data are not here")
    return path


def test_real_mias_gives_the_boxes_that_others_made_of_the_same_file(tmp_path):
    """Oracle: the manifest of the shared set, made independently (whole pixels at 512, hence half a pixel)."""
    folder = tmp_path / "mias"
    folder.mkdir()
    (folder / "Info.txt").write_bytes(real(FORMATS / "mias_Info.txt").read_bytes())
    (folder / "images").symlink_to((SITES / "MIAS" / "images").resolve())
    for path in sorted((SITES / "MIAS" / "images").resolve().iterdir()):
        (folder / path.name).symlink_to(path)
    (folder / "images").unlink()
    found = import_site("mias", folder, "MIAS", tmp_path / "site").manifest
    expected = {
        view.file.name: (breast, view)
        for breast in read_manifest(SITES / "MIAS", "MIAS").breasts
        for view in breast.views
    }
    assert sum(len(breast.views) for breast in found.breasts) == len(expected) == 242
    for breast in found.breasts:
        for view in breast.views:
            other, its_view = expected[view.file.resolve().name]
            assert (breast.label, breast.laterality, breast.density) == (other.label, other.laterality, other.density)
            if its_view.boxes is None:
                assert view.boxes is None or view.file.stem in ("mdb212", "mdb214")  # outside the breast as published
                continue
            assert len(view.boxes) == len(its_view.boxes)
            for one, two in zip(view.boxes, its_view.boxes, strict=True):
                assert (one.x0, one.y0, one.x1, one.y1) == pytest.approx((two.x0, two.y0, two.x1, two.y1), abs=0.51)


def test_the_real_tables_of_cbis_are_read_whole(tmp_path):
    """Counts of the published tables: 3568 abnormalities, 1566 patients; 31 on both sides of the split."""
    for kind in ("mass", "calc"):
        for split in ("train", "test"):
            name = f"{kind}_case_description_{split}_set.csv"
            (tmp_path / name).write_bytes(real(FORMATS / f"cbis_{name}").read_bytes())
    images = SOURCES["cbis-ddsm"].read(tmp_path)
    assert not images.images
    assert {why for _, why in images.left_out} == {"its image is not in the folder"}
    assert len({what for what, _ in images.left_out}) == len(images.left_out) == 3103


def test_the_real_table_of_cmmd_labels_every_breast(tmp_path):
    (tmp_path / "CMMD_clinicaldata_revision.csv").write_bytes(real(FORMATS / "cmmd_clinicaldata.csv").read_bytes())
    header = pydicom.dcmread(SITES.parent / "dicom" / "Clunie_MG_ForPresentation_pixelspacing_testpattern.dcm")
    header.PatientID = "D1-0021"
    for side in "LR":
        header.ImageLaterality = header.Laterality = side
        header.save_as(tmp_path / f"{side}.dcm")
    images = SOURCES["cmmd"].read(tmp_path).images
    assert {(image.laterality, image.view, image.label) for image in images} == {
        ("L", "CC", "benign"),
        ("R", "CC", "benign"),
    }


def test_boxes_are_written_as_they_are_read(site, tmp_path):
    folder = site("malignant", "benign")
    images = SOURCES["manifest"].read(folder).images
    rows = list(csv.DictReader(manifest_text(images, folder).splitlines()))
    assert [row["file"] for row in rows] == [image.file.relative_to(folder).as_posix() for image in images]
    assert json.loads(rows[0]["boxes"]) == [{"x0": 30.0, "y0": 100.0, "x1": 45.0, "y1": 115.0, "label": "mass"}]
