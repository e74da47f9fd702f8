"""Whether dense tissue is stored dark is seen in the image itself."""

import csv
from pathlib import Path

import numpy as np
import pytest

from common.imaging.polarity import is_inverted
from common.imaging.reading import read_image
from tests.common.imaging.mammograms import drawn_breast

REAL = Path("../shared/data/sites")


def label(pixels):
    pixels[10:40, -40:-10] = 1.0
    return pixels


def frame(pixels):
    return np.pad(pixels, 6, constant_values=1.0)


def film_edge(pixels):
    pixels[:, -8:] = 1.0
    return pixels


def dim(pixels):
    return 0.3 * pixels + 0.2


def large(_):
    return drawn_breast(reach=200, half_height=130)


@pytest.mark.parametrize("change", [lambda pixels: pixels, label, frame, film_edge, dim, large])
@pytest.mark.parametrize("inverted", [False, True])
def test_air_tells_the_polarity(change, inverted):
    pixels = change(drawn_breast())
    assert is_inverted(1 - pixels if inverted else pixels) == inverted


def test_a_blank_image_is_not_inverted():
    assert not is_inverted(np.full((50, 40), 0.5, dtype=np.float32))


def wrong_decisions(site):
    manifest = REAL / site / "manifest.csv"
    if not manifest.exists():
        pytest.skip("the shared real data are not here")
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        row["file"] for row in rows if is_inverted(read_image(REAL / site / row["file"]).pixels) != int(row["inverted"])
    ]


@pytest.mark.parametrize("site", ["MIAS", "RSNA1", "RSNA2", "CBIS"])
def test_polarity_of_every_real_image_is_right(site):
    assert wrong_decisions(site) == []  # two seconds for all 1205


def test_air_that_falls_between_two_bins_counts_as_one_spike():
    pixels = np.linspace(0, 1, 10_000, dtype=np.float32)
    pixels[1000:3000], pixels[3000:5000], pixels[5000:7500] = 10.5 / 256, 11.5 / 256, 250.5 / 256
    assert not is_inverted(pixels.reshape(100, 100)) and is_inverted(1 - pixels.reshape(100, 100))
