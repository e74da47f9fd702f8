"""Augmentation changes pictures, never what is true of them, and only as its generator says."""

import numpy as np
import pytest
import torch

from common.configuration import AugmentationConfig
from common.data.augmentation import augment, augment_with_boxes, move_boxes
from common.imaging.harmonise import OUTSIDE, harmonise
from tests.common.imaging.mammograms import drawn_breast

OFF = {"flip": False, "rotation_degrees": 0.0, "scale": 0.0, "shift": 0.0, "intensity": 0.0, "noise": 0.0, "blur": 0.0}


@pytest.fixture
def images():
    pixels = drawn_breast()
    return torch.from_numpy(harmonise(pixels, pixels > 0.2, "percentile"))[None, None].repeat(6, 1, 1, 1)


def changed(images, seed=0, **settings):
    return augment(images, AugmentationConfig(**(OFF | settings)), torch.Generator().manual_seed(seed))


def test_nothing_switched_on_changes_nothing(images):
    assert torch.allclose(changed(images), images, atol=1e-6)


def test_the_batch_given_is_left_alone_and_the_generator_decides(images):
    before = images.clone()
    settings = {"rotation_degrees": 10.0, "noise": 0.1, "intensity": 0.2, "blur": 0.5, "flip": True}
    first, again, other = (changed(images, seed, **settings) for seed in (1, 1, 2))
    assert torch.equal(images, before) and torch.equal(first, again) and not torch.equal(first, other)


def test_each_image_draws_its_own(images):
    result = changed(images, rotation_degrees=10.0)
    assert all(not torch.equal(result[0], other) for other in result[1:])


def test_flip_mirrors_top_to_bottom_only(images):
    images[:, :, :40, :20] += 1.0
    result = changed(images, flip=True)
    flipped = torch.flip(images, dims=[2])
    kinds = [
        torch.allclose(one, left, atol=1e-4) + 2 * torch.allclose(one, right, atol=1e-4)
        for one, left, right in zip(result, images, flipped, strict=True)
    ]
    assert set(kinds) == {1, 2}


def test_rotation_keeps_shape_and_size(images):
    """On a frame that is not square a wrong aspect in the matrix would shear the breast."""
    disc = torch.full((8, 1, 200, 120), OUTSIDE)
    y, x = np.mgrid[:200, :120]
    disc[:, :, torch.from_numpy((x - 59.5) ** 2 + (y - 99.5) ** 2 < 40**2)] = 1.0
    for one in changed(disc, rotation_degrees=30.0)[:, 0] > -1:
        height, width = int(one.any(dim=1).sum()), int(one.any(dim=0).sum())
        assert abs(height - 80) <= 2 and abs(width - 80) <= 2


@pytest.mark.parametrize("settings", [{"rotation_degrees": 20.0}, {"shift": 0.1}])
def test_moving_keeps_a_blob_whole_and_moves_it_as_far_as_asked(settings):
    """Centre of mass as oracle: a turn about the middle keeps the radius, a shift is at most its share of the side."""
    y, x = np.mgrid[:160, :120]
    blob = 4 * np.exp(-((x - 75) ** 2 + (y - 60) ** 2) / (2 * 6.0**2)) + OUTSIDE
    before = torch.from_numpy(blob.astype(np.float32))[None, None].repeat(16, 1, 1, 1)
    weight = (changed(before, **settings) - OUTSIDE)[:, 0].double()
    mass = weight.sum(dim=(1, 2))
    np.testing.assert_allclose(mass, (before[0] - OUTSIDE).sum(), rtol=0.02)
    row = (weight.sum(dim=2) @ torch.arange(160.0).double()) / mass
    column = (weight.sum(dim=1) @ torch.arange(120.0).double()) / mass
    if "shift" in settings:
        assert (row - 60).abs().max() <= 16.1 and (column - 75).abs().max() <= 12.1
        assert (row - 60).std() > 5 and (column - 75).std() > 4
    else:
        radius = torch.hypot(row - 79.5, column - 59.5)
        np.testing.assert_allclose(radius, np.hypot(60 - 79.5, 75 - 59.5), atol=0.2)
        assert (row - 60).std() > 1


def test_scale_stays_within_its_bounds(images):
    areas = (changed(images, scale=0.1) > OUTSIDE + 0.5).sum(dim=(1, 2, 3)) / (images > OUTSIDE + 0.5).sum() * 6
    assert areas.min() > 0.75 and areas.max() < 1.25 and areas.std() > 0.01


def test_air_stays_one_value_under_every_change(images):
    result = changed(images, rotation_degrees=10.0, shift=0.1, noise=0.3, intensity=0.3, blur=1.0)
    assert (result[:, :, :10, 150:] == OUTSIDE).all()


def test_intensity_keeps_the_order_of_grey_values(images):
    ramp = torch.linspace(-1.5, 2.0, 64).expand(32, 1, 8, 64).clone()
    ramp[:, :, 0] = OUTSIDE
    result = changed(ramp, intensity=0.2)[:, 0, 4]
    assert (result.diff(dim=1)[:, 1:] > 0).all()
    assert result.mean(dim=1).std() > 0.02


def test_noise_has_at_most_the_strength_asked_for(images):
    difference = (changed(images, noise=0.2) - images)[:, :, 60:180, 5:80]
    spread = difference.std(dim=(1, 2, 3))
    assert spread.min() > 0 and spread.max() <= 0.21 and abs(float(difference.mean())) < 0.01


def test_blur_smooths_the_chosen_share(images):
    rough = images.repeat(10, 1, 1, 1)
    rough = rough + torch.where(rough > OUTSIDE, 0.5, 0.0) * torch.randn(rough.shape, generator=torch.manual_seed(0))
    smoother = ((changed(rough, blur=0.3) - rough).abs() > 0.05).flatten(1).any(dim=1)
    assert 0.1 < smoother.float().mean() < 0.5


def matrix(linear, shift=(0.0, 0.0)):
    return torch.cat([torch.tensor(linear), torch.tensor(shift)[:, None]], dim=1)


def test_a_mirrored_box_by_hand():
    """In a frame 60 high, rows 10 to 20 become 40 to 50; columns stay."""
    flipped = move_boxes(torch.tensor([[5.0, 10.0, 9.0, 20.0]]), matrix([[1.0, 0.0], [0.0, -1.0]]), 60, 40)
    assert flipped.tolist()[0] == pytest.approx([5, 40, 9, 50], abs=1e-4)


def test_a_box_in_a_picture_twice_as_large_by_hand():
    """About the middle (20, 30): x 18 to 26 become 16 to 32, y 26 to 28 become 22 to 26."""
    larger = move_boxes(torch.tensor([[18.0, 26.0, 26.0, 28.0]]), matrix([[0.5, 0.0], [0.0, 0.5]]), 60, 40)
    assert larger.tolist()[0] == pytest.approx([16, 22, 32, 26], abs=1e-4)


def test_a_box_turned_by_a_quarter_by_hand():
    """10 to the right of the middle goes 10 above or below it, 8 wide becomes 8 high; the frame is square."""
    turned = move_boxes(torch.tensor([[26.0, 18.0, 34.0, 22.0]]), matrix([[0.0, -1.0], [1.0, 0.0]]), 40, 40)
    assert turned.tolist()[0] == pytest.approx([18, 6, 22, 14], abs=1e-4)


def test_a_box_is_cut_at_the_frame_and_dropped_when_little_is_left():
    boxes = torch.tensor([[0.0, 10.0, 10.0, 20.0]])
    half = move_boxes(boxes, matrix([[1.0, 0.0], [0.0, 1.0]], (0.25, 0.0)), 40, 40)  # 5 pixels to the left
    assert half.tolist()[0] == pytest.approx([0, 10, 5, 20], abs=1e-4)
    assert len(move_boxes(boxes, matrix([[1.0, 0.0], [0.0, 1.0]], (0.4, 0.0)), 40, 40)) == 0  # 8 pixels


@pytest.mark.parametrize("seed", range(6))
def test_boxes_go_where_their_pictures_go(seed):
    """Bright ellipses on a grey breast: after any change the box is the one around what is still bright."""
    rows, columns = torch.meshgrid(torch.arange(96.0) + 0.5, torch.arange(72.0) + 0.5, indexing="ij")
    images, boxes = torch.full((4, 1, 96, 72), 1.0), []
    images[:, :, :, 70:] = -3.0
    for number in range(4):
        x, y, a, b = 30.0 + number, 40.0 + 4 * number, 7.0 + number, 5.0 + 2 * number
        images[number, 0][((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1] = 4.0
        boxes.append(torch.tensor([[x - a, y - b, x + a, y + b]]))
    strong = AugmentationConfig(**(OFF | {"flip": True, "rotation_degrees": 25.0, "scale": 0.3, "shift": 0.1}))
    moved, found = augment_with_boxes(images, boxes, strong, torch.Generator().manual_seed(seed))
    for image, box in zip(moved, found, strict=True):
        bright = (image[0] > 2.5).nonzero()
        around = [*bright.min(dim=0).values.flip(0).tolist(), *(bright.max(dim=0).values.flip(0) + 1).tolist()]
        assert box.tolist()[0] == pytest.approx(around, abs=1.6)


def test_boxes_stay_where_nothing_moves(images):
    boxes = [torch.tensor([[1.0, 2.0, 3.0, 4.0]])] * 6
    config = AugmentationConfig(**(OFF | {"noise": 0.1}))
    _, found = augment_with_boxes(images, boxes, config, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, boxes[0]) for one in found)


def test_pictures_are_changed_alike_with_and_without_boxes(images):
    """The classifier's and the detector's pictures come from one stream of random numbers."""
    config = AugmentationConfig()
    with_boxes, _ = augment_with_boxes(images, [torch.ones(1, 4)] * 6, config, torch.Generator().manual_seed(4))
    assert torch.equal(with_boxes, augment(images, config, torch.Generator().manual_seed(4)))
