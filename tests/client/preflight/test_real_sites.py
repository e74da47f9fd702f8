"""On the real mammograms beside the project: what is known of them is found without being told."""

import csv
import shutil
from pathlib import Path

import pytest

from client.importing import import_site
from client.preflight.check import check
from client.site import Site
from common.configuration import load_task
from tests.client.preflight.conftest import SETTINGS

SITES, FORMATS = Path("../shared/data/sites"), Path("../shared/data/formats")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SITES.is_dir(), reason="the shared real data are not here"),
]


def affected(result, code):
    return {one.file for item in result.findings if item.code == code for one in item.affected}


def test_inverted_images_of_rsna2(tmp_path):
    """A third of them; the column that says so is not read by anything of ours."""
    with (SITES / "RSNA2/manifest.csv").open() as stream:
        inverted = {row["file"] for row in csv.DictReader(stream) if row["inverted"] == "1"}
    result = check(Site("RSNA2", SITES / "RSNA2", tmp_path), load_task(None, SETTINGS))
    assert affected(result, "inverted") == inverted and len(inverted) == 175
    assert result.ready


def test_the_two_boxes_of_mias_outside_the_breast(tmp_path):
    """As published; the manifest of the shared folder leaves these two boxes empty."""
    archive = tmp_path / "mias"
    shutil.copytree(SITES / "MIAS/images", archive / "images")
    shutil.copy(FORMATS / "mias_Info.txt", archive / "Info.txt")
    import_site("mias", archive, "MIAS", tmp_path / "MIAS")
    result = check(Site("MIAS", tmp_path / "MIAS", tmp_path / "state"), load_task(None, SETTINGS))
    assert {Path(file).name for file in affected(result, "box-outside-breast")} == {"mdb212.jpg", "mdb214.jpg"}
    assert result.ready and result.inventory.images == 242
