"""What a detector may learn from: boxes where pictures show them, negatives only where there is known to be none."""

from dataclasses import replace

import numpy as np
import pytest

from common.data.cache import CachedImage
from common.data.dataset import SiteData, make_batch
from common.data.lesions import batch_boxes, for_detection, lesions_of, patients_with_lesion, with_lesion
from common.data.manifest import Breast, View
from common.imaging.box import Box
from common.imaging.facts import FileFacts, ImageFacts, PixelFacts
from common.imaging.geometry import Geometry

MIRRORED = Geometry(200, 100, (20, 0, 100, 200), True, False, 100, 48, (100, 40), 0)
"""Stored 200 x 100; columns 20 to 100 are kept, mirrored, and halved."""
MASS, BENIGN, OUTSIDE = Box(60, 40, 80, 70, "malignant"), Box(30, 20, 40, 30, "benign"), Box(2, 2, 12, 12, "malignant")


@pytest.fixture
def make(tmp_path):
    def site(*breasts):
        """Breasts as (patient, label, boxes of each view)."""
        kept, images = [], []
        for patient, label, views in breasts:
            found = []
            for number, _ in enumerate(views):
                file = tmp_path / f"{patient}-{number}.npy"
                np.save(file, np.full((100, 48), len(kept) + number / 10, dtype=np.float16))
                facts = ImageFacts(FileFacts("PNG", 8), PixelFacts("0" * 64, False, False, 0.5))
                found.append(CachedImage(file, MIRRORED, facts))
            listed = tuple(View(tmp_path, "CC", 2, boxes) for boxes in views)
            kept.append(Breast(patient, "1", "L", label, "train", listed))
            images.append(tuple(found))
        return SiteData("TUH", tuple(kept), tuple(images))

    return site


def test_a_box_by_hand(make):
    """x 60 to 80 of 20 to 100, mirrored: 20 to 40 from the right edge, halved: 10 to 20. y 40 to 70 halved."""
    data = make(("a", "malignant", [(MASS,)]))
    assert batch_boxes(data, [0], "any")[0].tolist() == [[10.0, 20.0, 20.0, 35.0]]


def test_boxes_are_in_the_order_of_the_batchs_images(make):
    data = make(("a", "malignant", [(MASS,), ()]), ("b", "normal", [()]), ("c", "malignant", [(), (MASS, BENIGN)]))
    order = [2, 0, 1]
    assert [len(boxes) for boxes in batch_boxes(data, order, "any")] == [0, 2, 1, 0, 0]
    assert make_batch(data, order).images[:, 0, 0, 0].tolist() == pytest.approx([2, 2.1, 0, 0.1, 1], abs=1e-2)


def test_unknown_is_no_negative(make):
    data = make(("a", "normal", [None, ()]), ("b", "malignant", [None]), ("c", "malignant", [(MASS,)]))
    usable = for_detection(data, "any")
    assert [breast.patient_id for breast in usable.breasts] == ["a", "c"]
    assert [len(views) for views in usable.views] == [1, 1]
    assert lesions_of(data.breasts[1], data.breasts[1].views[0], data.views[1][0], "any") is None
    with pytest.raises(ValueError, match="no example"):
        batch_boxes(data, [0], "any")


def test_a_lesion_cropped_away_is_counted_and_its_view_no_negative(make):
    data = make(("a", "malignant", [(MASS, OUTSIDE), (MASS,)]))
    found = lesions_of(data.breasts[0], data.breasts[0].views[0], data.views[0][0], "any")
    assert (len(found.boxes), found.lost) == (1, 1)
    assert len(for_detection(data, "any").views[0]) == 1


def test_malignant_lesions_alone(make):
    """A box's own label counts; one that says what it is, not what it means, has its breast's."""
    shapes = (replace(MASS, label="mass"), BENIGN)
    data = make(("a", "malignant", [shapes]), ("b", "benign", [shapes]), ("c", "normal", [()]))
    assert with_lesion(data, "any").tolist() == [1, 1, 0]
    assert with_lesion(data, "malignant").tolist() == [1, 0, 0]
    assert [len(boxes) for boxes in batch_boxes(data, range(3), "malignant")] == [1, 0, 0]


def test_patients_are_counted_once(make):
    data = make(("a", "malignant", [(MASS,)]), ("a", "malignant", [(MASS,)]), ("b", "normal", [()]))
    assert patients_with_lesion(data, "any") == 1
    assert patients_with_lesion(make(("a", "malignant", [(OUTSIDE,)])), "any") == 0


def test_a_site_without_any_boxes_has_nothing_to_learn_from(make):
    assert for_detection(make(("a", "malignant", [None]), ("b", "normal", [None])), "any").breasts == ()
