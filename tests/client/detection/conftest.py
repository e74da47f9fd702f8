"""A small site with bright masses, and detections made up for it."""

import numpy as np
import pytest

from client.detection.reading import SiteReading, ViewReading
from common.configuration import DetectorConfig, ImagingConfig, ModelConfig, TaskConfig, TrainingConfig
from common.data.cache import CachedImage
from common.data.dataset import SiteData
from common.data.lesions import site_lesions
from common.data.manifest import Breast, View
from common.imaging.box import Box
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry

ROWS, COLUMNS = 64, 48


@pytest.fixture
def task() -> TaskConfig:
    return TaskConfig(
        task="detector",
        imaging=ImagingConfig(height=ROWS, width=COLUMNS),
        model=ModelConfig(backbone="resnet8", norm="group"),
        detector=DetectorConfig(
            channels=16, tower_convolutions=1, smallest_mm=8, largest_mm=40, frame_mm=64, lesion_share=0.75
        ),
        training=TrainingConfig(batch_size=4, learning_rate=3e-3, precision="fp32", threads=1),
    )


@pytest.fixture
def squares(tmp_path) -> SiteData:
    """Twelve patients, a breast with two views each; the even ones have a bright square whose box is known, every
    third of them malignant. The last two patients' boxes are unknown."""
    random, breasts, images = np.random.default_rng(0), [], []
    for number in range(12):
        listed, kept = [], []
        for place, name in enumerate(("CC", "MLO")):
            pixels = np.full((ROWS, COLUMNS), -3.0, dtype=np.float16)
            pixels[:, :40] = random.normal(0.0, 0.3, (ROWS, 40)).clip(-2, 2)
            boxes = ()
            if number % 2 == 0:
                x, y = random.integers(2, 26), random.integers(2, 50)
                pixels[y : y + 12, x : x + 12] += 1.5
                boxes = (Box(float(x), float(y), float(x + 12), float(y + 12)),)
            file = tmp_path / f"{number}-{place}.npy"
            np.save(file, pixels)
            listed.append(View(file, name, number + 2, None if number >= 10 else boxes))
            geometry = Geometry(ROWS, COLUMNS, (0, 0, COLUMNS, ROWS), False, False, ROWS, COLUMNS, (ROWS, COLUMNS), 0)
            kept.append(
                CachedImage(
                    file, geometry, ImageFacts(FileFacts("PNG", 8), PixelFacts(f"{number:064x}", False, False, 0.5))
                )
            )
        label = "malignant" if number % 6 == 0 else "benign" if number % 2 == 0 else "normal"
        breasts.append(Breast(f"p{number}", "1", "L", label, "train", tuple(listed)))
        images.append(tuple(kept))
    return SiteData("TUH", tuple(breasts), tuple(images))


@pytest.fixture
def perfect(squares) -> SiteReading:
    """Every known lesion marked with 0.9, and on every view one false mark of 0.1."""
    views = []
    for breast, found in enumerate(site_lesions(squares, "any")):
        for view, lesions in enumerate(found):
            true = np.empty((0, 4)) if lesions is None else lesions.corners
            boxes = np.concatenate([true, [[30.0, 0.0, 38.0, 2.0]]])
            scores = np.array([0.9] * len(true) + [0.1])
            views.append(ViewReading(breast, view, boxes, scores, lesions))
    return SiteReading(views, np.arange(12.0), 0.5)
