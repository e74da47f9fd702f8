"""Grey values as dcmtk's ``dcm2pnm`` makes them from the same files."""

import shutil
import subprocess

import numpy as np
import pytest

from common.imaging.reading import read_image
from tests.common.imaging.mammograms import dicom, drawn_breast
from tests.common.imaging.test_grey_values import table_item

pytestmark = pytest.mark.skipif(not shutil.which("dcm2pnm"), reason="dcm2pnm (Debian: dcmtk) is not installed")
SQRT = np.round(np.sqrt(np.linspace(0.04, 1, 1500)) * 1023).astype(int)
WINDOW = {"WindowCenter": 1500.0, "WindowWidth": 1000.0}
RESCALED = {"RescaleSlope": 0.5, "RescaleIntercept": -200.0, "WindowCenter": 700.0, "WindowWidth": 900.0}


def by_dcmtk(path, *options):
    """``(rows, columns)`` 0..1, written with 16 bits as text."""
    found = subprocess.run(["dcm2pnm", *options, "+opw", str(path)], check=True, capture_output=True, timeout=60)
    words = [line for line in found.stdout.decode().splitlines() if not line.startswith("#")]
    kind, columns, rows, full, *values = " ".join(words).split()
    assert (kind, full) == ("P2", "65535")
    return np.array(values, dtype=float).reshape(int(rows), int(columns)) / 65535


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("tags", "options"),
    [
        ({}, []),
        (WINDOW, ["+Wi", "1"]),
        ({**WINDOW, "VOILUTFunction": "SIGMOID"}, ["+Wi", "1"]),
        (RESCALED, ["+Wi", "1"]),
        ({"WindowCenter": [1500.0, 10.0], "WindowWidth": [1000.0, 20.0]}, ["+Wi", "1"]),
        ({"VOILUTSequence": [700, 10]}, ["+Wl", "1"]),
        ({**WINDOW, "VOILUTSequence": [0, 10]}, ["+Wl", "1"]),
        ({"ModalityLUTSequence": [0, 10]}, []),
    ],
)
def test_windows_and_tables(tmp_path, photometric, tags, options, signed):
    stored = np.round(drawn_breast() * 4095).astype(np.int16)
    raw = stored - 2048 if signed else stored
    header = dicom(raw, photometric=photometric)
    for name, value in tags.items():
        if name.endswith("Sequence"):
            value = [table_item(SQRT, value[0] - 2048 * signed, value[1], first_vr="SS" if signed else "US")]
        elif name == "WindowCenter" and signed:
            value = np.subtract(value, 2048.0 * tags.get("RescaleSlope", 1.0)).tolist()
        setattr(header, name, value)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = read_image(tmp_path / "a.dcm").pixels
    assert np.ptp(found) > 0.5
    np.testing.assert_allclose(found, by_dcmtk(tmp_path / "a.dcm", *options), atol=1.5e-3)
