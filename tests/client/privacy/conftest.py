"""A small site whose patients have one to eight images each."""

import numpy as np
import pytest

from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.box import Box
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry

ROWS, COLUMNS = 64, 48
EXAMS = {"p0": ("CC", "MLO"), "p1": ("CC",), "p2": ("CC", "MLO"), "p3": ("CC",)}
"""Views of each breast, by patient."""
BREASTS = (("p0", "L"), ("p2", "L"), ("p1", "R"), ("p2", "R"), ("p0", "R"), ("p2", "L"), ("p2", "R"), ("p3", "L"))
"""In the order of the site's data: patients are mixed up, and p2 has two exams of both breasts."""


@pytest.fixture
def site(tmp_path) -> SiteData:
    """Four patients with 4, 1, 8 and 1 images; p1's and p2's left breasts are malignant, with a bright square whose box
    is known, two of them in p2's first view."""
    random, breasts, images = np.random.default_rng(0), [], []
    for number, (patient, side) in enumerate(BREASTS):
        malignant = patient == "p1" or (patient, side) == ("p2", "L")
        views, kept = [], []
        for place, name in enumerate(EXAMS[patient]):
            pixels = np.full((ROWS, COLUMNS), -3.0, dtype=np.float16)
            pixels[:, :40] = random.normal(0.0, 0.5, (ROWS, 40)).clip(-2, 2)
            boxes = [(5, 6 + number), (22, 40)][: 2 if number == 1 and place == 0 else 1] if malignant else []
            for x, y in boxes:
                pixels[y : y + 12, x : x + 12] += 1.5
            file = tmp_path / f"{number}-{place}.npy"
            np.save(file, pixels)
            views.append(View(file, name, 2, tuple(Box(float(x), float(y), x + 12.0, y + 12.0) for x, y in boxes)))
            geometry = Geometry(ROWS, COLUMNS, (0, 0, COLUMNS, ROWS), False, False, ROWS, COLUMNS, (ROWS, COLUMNS), 0)
            facts = ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{number:064x}", False, False, 0.5))
            kept.append(CachedImage(file, geometry, facts))
        label = "malignant" if malignant else "normal"
        breasts.append(Breast(patient, "1", side, label, "train", tuple(views)))
        images.append(tuple(kept))
    return SiteData("TUH", tuple(breasts), tuple(images))
