"""A site's images become breasts with views, and batches; what is unusable is counted or stops all."""

import json

import numpy as np
import pytest
import torch

from common.configuration import DataConfig, ImagingConfig
from common.data import preparation
from common.data.dataset import make_batch, merge, prepare_site
from common.data.manifest import read_manifest
from common.data.split import assign_splits
from common.errors import BoxOutsideImageError, UnreadableImageError
from tests.common.data.conftest import row, write_manifest
from tests.common.imaging.mammograms import drawn_breast, write_png

IMAGING = ImagingConfig(height=64, width=48)
STOP, SKIP = DataConfig(unreadable="stop"), DataConfig(unreadable="skip")


def prepared(folder, tmp_path, data=STOP, **more):
    manifest = assign_splits(read_manifest(folder, "TUH"), 0.2, 0.2)
    return prepare_site(manifest, tmp_path / "cache", IMAGING, data, **more)


def test_breasts_keep_their_views_labels_and_order(site, tmp_path):
    seen = []
    data = prepared(site("malignant", "normal"), tmp_path, progress=lambda *now: seen.append(now))
    assert (data.site, data.patients, len(data.breasts)) == ("TUH", 2, 4)
    assert data.targets.tolist() == [1, 0, 0, 0] and data.targets.dtype == np.int64
    assert [len(views) for views in data.views] == [2, 2, 2, 2]
    assert [image.geometry.mirrored for views in data.views for image in views] == [False, False, True, True] * 2
    assert seen == [(number, 8) for number in range(1, 9)]


def test_splits_part_the_patients(site, tmp_path):
    data = prepared(site(*["malignant", "normal"] * 4), tmp_path)
    parts = [data.of_split(split) for split in ("train", "validation", "test")]
    assert sum(part.patients for part in parts) == data.patients == 8
    assert all(len(part.views) == len(part.breasts) > 0 for part in parts)


def test_a_batch_holds_every_view_and_its_breast(site, tmp_path):
    data = prepared(site("malignant", "normal"), tmp_path)
    batch = make_batch(data, [3, 0])
    assert batch.images.shape == (4, 1, 64, 48) and batch.images.dtype == torch.float32
    assert batch.breast_of_image.tolist() == [0, 0, 1, 1] and batch.targets.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(batch.images[2, 0].numpy(), data.views[0][0].pixels.astype(np.float32))


def test_merged_sites_keep_patients_apart(site, tmp_path):
    data = prepared(site("malignant", "normal"), tmp_path)
    pooled = merge([data, type(data)("MCS", data.breasts, data.views)])
    assert pooled.patients == 4 and len({breast.key for breast in pooled.breasts}) == 8
    assert pooled.targets.tolist() == data.targets.tolist() * 2


def test_several_processes_give_the_same(site, tmp_path, monkeypatch):
    folder = site(*["malignant", "normal"] * 3)
    alone = prepared(folder, tmp_path / "one", workers=1)
    monkeypatch.setattr(preparation, "WORTH_A_POOL_SECONDS", 0.0)
    together = prepared(folder, tmp_path / "two", workers=2)
    for left, right in zip(alone.views, together.views, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)


def test_processes_keep_order_and_report_unusable_images(site, tmp_path, monkeypatch):
    """Three chunks of eight beyond the sixteen images that are tried first."""
    folder = site(*["malignant", "normal", "benign"] * 4)
    for name in ("p5-L-CC", "p9-R-MLO"):
        (folder / f"images/{name}.png").write_bytes(b"not a picture")
    monkeypatch.setattr(preparation, "WORTH_A_POOL_SECONDS", 0.0)
    together = prepared(folder, tmp_path / "two", SKIP, workers=2)
    monkeypatch.undo()
    alone = prepared(folder, tmp_path / "one", SKIP, workers=1)
    assert [item.file.stem for item in together.skipped] == ["p5-L-CC", "p9-R-MLO"]
    assert together.skipped == alone.skipped and together.breasts == alone.breasts
    for left, right in zip(alone.views, together.views, strict=True):
        assert [image.geometry for image in left] == [image.geometry for image in right]
        assert [image.pixels.tobytes() for image in left] == [image.pixels.tobytes() for image in right]


def spoil(folder):
    """Three unusable images: not there, cut off, blank. The right breast of p1 loses both its views."""
    (folder / "images/p0-L-CC.png").unlink()
    file = folder / "images/p1-R-CC.png"
    file.write_bytes(file.read_bytes()[:200])
    write_png(folder / "images/p1-R-MLO.png", np.zeros((64, 48)), 8)


def test_unusable_images_stop_everything_after_all_were_tried(site, tmp_path):
    folder = site("malignant", "normal")
    spoil(folder)
    with pytest.raises(UnreadableImageError, match="3 images of site TUH") as caught:
        prepared(folder, tmp_path)
    for text in ("line 2: p0-L-CC.png", "line 8: p1-R-CC.png", "line 9: p1-R-MLO.png: no breast", "unreadable=skip"):
        assert text in str(caught.value)


def test_unusable_images_are_skipped_and_counted_on_request(site, tmp_path):
    folder = site("malignant", "normal")
    spoil(folder)
    data = prepared(folder, tmp_path, SKIP)
    assert [item.line for item in data.skipped] == [2, 8, 9] and all(item.reason for item in data.skipped)
    assert [breast.key for breast in data.breasts] == ["p0/p0-1/L", "p0/p0-1/R", "p1/p1-1/L"]
    assert [len(views) for views in data.views] == [len(breast.views) for breast in data.breasts] == [1, 2, 2]


def test_only_ten_unusable_images_are_listed(tmp_path):
    folder = write_manifest(tmp_path / "site", [row(f"p{number}") for number in range(14)])
    with pytest.raises(UnreadableImageError, match="and 4 more"):
        prepared(folder, tmp_path)


@pytest.mark.parametrize(("edge", "allowed"), [(180, True), (181, True), (183, False)])
def test_boxes_must_lie_inside_the_stored_image(tmp_path, edge, allowed):
    write_png(tmp_path / "site/images/p1-L-CC.png", drawn_breast(), 8)  # 180 columns
    box = {"x0": 100, "y0": 5, "x1": edge, "y1": 20}
    folder = write_manifest(tmp_path / "site", [row(boxes=json.dumps([box]))])
    if allowed:
        assert prepared(folder, tmp_path).patients == 1
        return
    with pytest.raises(BoxOutsideImageError, match="180 x 240") as caught:
        prepared(folder, tmp_path)
    assert "line 2" in caught.value.where
