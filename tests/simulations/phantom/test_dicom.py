"""Phantom files are real digital mammography objects: an independent validator and the tags that loaders rely on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from simulations.phantom.dataset import write_site
from simulations.phantom.sites import SITES, acquisition_at

ROWS = 128


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Two exams of every site (both intents, both polarities, CC and MLO)."""
    root = tmp_path_factory.mktemp("sites")
    for name in SITES:
        write_site(name, 2, root / name, rows=ROWS, workers=1)
    return {name: sorted((root / name / "dicom").glob("*.dcm")) for name in SITES}


@pytest.mark.parametrize("name", SITES)
def test_dciodvfy_finds_no_error(files: dict[str, list[Path]], name: str) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    for file in files[name]:
        answer = subprocess.run([program, str(file)], capture_output=True, text=True, timeout=60, check=False)
        report = answer.stdout + answer.stderr
        assert "MammographyImage" in report
        assert not [line for line in report.splitlines() if line.startswith("Error")], report


@pytest.mark.parametrize("name", SITES)
def test_headers_say_what_the_pixels_are(files: dict[str, list[Path]], name: str) -> None:
    acquisition = acquisition_at(SITES[name], 1.0)
    for file in files[name]:
        ds = pydicom.dcmread(file)
        processing = name == "RAW"
        assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2" + (".1" if processing else "")
        assert ds.PresentationIntentType == ("FOR PROCESSING" if processing else "FOR PRESENTATION")
        assert ds.PhotometricInterpretation == acquisition.photometric
        assert ds.PresentationLUTShape == ("INVERSE" if ds.PhotometricInterpretation == "MONOCHROME1" else "IDENTITY")
        assert ("WindowCenter" in ds) is not processing
        assert float(ds.ImagerPixelSpacing[0]) == pytest.approx(acquisition.field_mm / ROWS, abs=1e-5)
        assert ds.pixel_array.max() < 2**ds.BitsStored
        view = ds.ViewCodeSequence[0]
        assert (view.CodeValue, view.CodingSchemeDesignator) == (
            ("399162004", "SCT") if "_CC" in file.name else ("399368009", "SCT")
        )
        assert file.name.split("_")[1] == ds.ImageLaterality
        assert ds.PatientOrientation[0] == ("A" if ds.ImageLaterality == "L" else "P")
        assert str(ds.PatientName).startswith("PHANTOM^SIMULATED")
        chest, air = ds.pixel_array[ROWS // 2, :4], ds.pixel_array[ROWS // 2, -4:]
        if ds.ImageLaterality == "R":
            chest, air = air, chest
        shows_air_high = ds.PhotometricInterpretation == "MONOCHROME1"
        assert (np.median(air) > np.median(chest)) == shows_air_high


def test_uids_are_unique_and_repeatable(files: dict[str, list[Path]], tmp_path: Path) -> None:
    everywhere = [pydicom.dcmread(f, stop_before_pixels=True) for name in SITES for f in files[name]]
    assert len({ds.SOPInstanceUID for ds in everywhere}) == len(everywhere)
    assert len({ds.StudyInstanceUID for ds in everywhere}) == len(everywhere) // 2
    write_site("MCS", 1, tmp_path, rows=ROWS, workers=1)
    again = sorted((tmp_path / "dicom").glob("*.dcm"))
    assert [f.read_bytes() for f in again] == [f.read_bytes() for f in files["MCS"][:2]]
