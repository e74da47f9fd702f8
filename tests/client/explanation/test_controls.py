"""Control maps: seeded, smooth, blind to the model, and 0 outside the breast."""

import numpy as np
import torch
from scipy.stats import spearmanr

from client.explanation.controls import control_maps


def prepared_views():
    """Two views as the pipeline prepares them: a half disc of values around 0, -3 outside."""
    rows, columns = np.mgrid[:64, :48]
    breast = (rows - 32) ** 2 + columns**2 < 30**2
    values = np.random.default_rng(0).normal(size=(2, 64, 48)).clip(-2.9, 4.0)
    values[0, 30, 10] = 4.9
    return torch.from_numpy(np.where(breast, values, -3.0).astype(np.float32))[:, None], breast


def test_controls_are_zero_outside_the_breast_and_positive_inside():
    images, breast = prepared_views()
    maps = control_maps(images, 0)
    assert set(maps) == {"intensity", "random"}
    for found in maps.values():
        assert (found.shape, found.dtype) == ((2, 64, 48), np.float32)
        assert np.all(found[:, ~breast] == 0.0)
        assert np.all(found >= 0.0)
        assert np.all(found[:, breast].std(axis=1) > 0.0)


def test_the_intensity_control_is_the_image():
    images, breast = prepared_views()
    found = control_maps(images, 0)["intensity"]
    np.testing.assert_allclose(found[:, breast], images[:, 0].numpy()[:, breast] + 3.0, atol=1e-6)
    assert np.unravel_index(found[0].argmax(), (64, 48)) == (30, 10)


def test_the_random_control_is_smooth_seeded_and_blind():
    images, breast = prepared_views()
    first, again, other = (control_maps(images, seed)["random"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    inside = first[0][breast]
    assert abs(spearmanr(inside, images[0, 0].numpy()[breast]).statistic) < 0.2
    steps = np.abs(np.diff(first[0], axis=1))[breast[:, 1:] & breast[:, :-1]]
    assert steps.mean() < 0.2 * inside.std(), "neighbours are alike"


def test_a_blank_image_gives_blank_controls():
    maps = control_maps(torch.full((1, 1, 32, 32), -3.0), 0)
    assert all(np.all(found == 0.0) for found in maps.values())
