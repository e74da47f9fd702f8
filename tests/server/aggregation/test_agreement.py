"""The agreed update against brute force over all updates near the mean, by hand, and its invariances."""

import numpy as np
import pytest

from server.aggregation.agreement import agreement_coefficients


def agreed(updates, shares, kappa=0.5):
    """The update that the coefficients make."""
    return agreement_coefficients(updates @ updates.T, np.array(shares), kappa) @ updates


def worst(updates, direction):
    """Smallest inner product of a direction with a site's update, ``(...)``."""
    return np.min(direction @ updates.T, axis=-1)


@pytest.mark.parametrize("seed", range(6))
def test_no_update_as_near_to_the_mean_has_a_larger_smallest_inner_product(seed):
    """CAGrad's own problem, solved in two dimensions by trying a fine grid of the ball's points."""
    random = np.random.default_rng(seed)
    updates, shares = random.normal(size=(3, 2)), np.array([0.5, 0.3, 0.2])
    mean = shares @ updates
    found = agreed(updates, shares) * 1.5  # without the rescaling
    radius = 0.5 * np.linalg.norm(mean)
    assert np.linalg.norm(found - mean) <= radius * (1 + 1e-6)
    angles, radii = np.meshgrid(np.linspace(0, 2 * np.pi, 2000), np.linspace(0, 1, 60))
    points = mean + radius * radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    assert worst(updates, found) >= worst(updates, points).max() - 1e-4
    assert worst(updates, found) >= worst(updates, mean) - 1e-9


def test_two_sites_at_right_angles_by_hand():
    """Updates (2, 0) and (0, 1), mean (1, .5), kappa 0.5. On the ball's edge both products are equal where 2 x = y, or
    where the direction of the smaller one alone, (0, 1), is best: mean + radius (0, 1) has products 2 and .5 + .559."""
    updates = np.array([[2.0, 0.0], [0.0, 1.0]])
    radius = 0.5 * np.hypot(1.0, 0.5)
    np.testing.assert_allclose(agreed(updates, [0.5, 0.5]), np.array([1.0, 0.5 + radius]) / 1.5, atol=1e-5)


def test_one_site_alone_is_the_identity():
    assert agreement_coefficients(np.array([[7.0]]), np.array([1.0]), 0.5) == pytest.approx([1.0])


def test_equal_updates_stay_the_same():
    update = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(agreed(np.stack([update] * 3), [0.2, 0.5, 0.3]), update, rtol=1e-6)


def test_without_room_it_is_the_mean():
    updates = np.array([[1.0, 0.0], [-1.0, 3.0]])
    np.testing.assert_allclose(agreed(updates, [0.25, 0.75], kappa=0.0), [-0.5, 2.25])


def test_the_size_of_all_updates_does_not_matter():
    updates = np.random.default_rng(3).normal(size=(4, 9))
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    one = agreement_coefficients(updates @ updates.T, shares, 0.5)
    tiny = agreement_coefficients(1e-12 * updates @ updates.T, shares, 0.5)
    np.testing.assert_allclose(tiny, one, atol=1e-6)


def test_the_order_of_the_sites_does_not_matter():
    updates, shares = np.random.default_rng(4).normal(size=(4, 9)), np.array([0.1, 0.2, 0.3, 0.4])
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(agreed(updates[order], shares[order]), agreed(updates, shares), atol=1e-5)


@pytest.mark.parametrize("updates", [np.zeros((2, 3)), np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])])
def test_nothing_to_agree_on_leaves_the_mean(updates):
    np.testing.assert_allclose(agreed(updates, [0.5, 0.5]), np.zeros(3), atol=1e-6)


def test_where_two_sites_oppose_each_other_entirely_the_mean_is_left():
    """(0, 1) and (0, -1) vanish together: no direction serves both, and the mean hurts neither."""
    updates, third = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]]), 1 / 3
    np.testing.assert_allclose(agreed(updates, [third] * 3), [third / 1.5, 0.0], atol=1e-5)


def test_of_opposite_updates_the_smaller_sites_pulls_as_far_as_it_may():
    """Mean 3/4 - 1/4 = 1/2 and radius 1/4: the smaller product, -x, is largest at x = 1/4; divided by 1 + kappa."""
    updates = np.array([[1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(agreed(updates, [0.75, 0.25]), [0.25 / 1.5, 0.0], atol=1e-6)
