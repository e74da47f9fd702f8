"""A small site whose malignant breasts are brighter, prepared and split."""

import numpy as np
import pytest

from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry

ROWS, COLUMNS = 32, 24


@pytest.fixture
def bright_cancers(tmp_path) -> SiteData:
    """Twelve breasts of one view each, one a patient; every third is malignant and 1 brighter."""
    random, breasts, views = np.random.default_rng(0), [], []
    for number in range(12):
        malignant = number % 3 == 0
        pixels = np.full((ROWS, COLUMNS), -3.0, dtype=np.float16)
        pixels[:, :16] = random.normal(float(malignant), 0.5, (ROWS, 16)).clip(-2, 4)
        file = tmp_path / f"{number}.npy"
        np.save(file, pixels)
        view = View(file, "CC", number + 2, None)
        breasts.append(Breast(f"p{number}", "1", "L", "malignant" if malignant else "normal", "train", (view,)))
        geometry = Geometry(ROWS, 16, (0, 0, 16, ROWS), False, False, ROWS, COLUMNS, (ROWS, 16), 0)
        facts = ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{number:064x}", False, False, 0.5))
        views.append((CachedImage(file, geometry, facts),))
    return SiteData("TUH", tuple(breasts), tuple(views))
