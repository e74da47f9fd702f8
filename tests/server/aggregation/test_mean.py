"""The streaming mean against hand-made numbers and its invariances."""

import itertools

import pytest
import torch

from server.aggregation.mean import RunningMean, finish, fold
from server.aggregation.weights import site_weight

UPDATES = [
    ({"w": torch.tensor([1.0, 2.0]), "b": torch.tensor(4.0)}, 30.0),
    ({"w": torch.tensor([3.0, -2.0]), "b": torch.tensor(0.0)}, 10.0),
    ({"w": torch.tensor([-1.0, 6.0]), "b": torch.tensor(2.0)}, 60.0),
]


def mean_of(updates):
    mean = RunningMean()
    for update, weight in updates:
        mean = fold(mean, update, weight)
    return finish(mean)


def test_weighted_mean_is_the_one_computed_by_hand():
    result = mean_of(UPDATES)
    # (30*1 + 10*3 - 60*1) / 100 = 0; (30*2 - 10*2 + 60*6) / 100 = 4; (30*4 + 60*2) / 100 = 2.4
    torch.testing.assert_close(result["w"], torch.tensor([0.0, 4.0]))
    torch.testing.assert_close(result["b"], torch.tensor(2.4))
    assert result["w"].dtype == torch.float32


def test_order_of_sites_does_not_matter():
    for order in itertools.permutations(UPDATES):
        torch.testing.assert_close(mean_of(order)["w"], mean_of(UPDATES)["w"], rtol=0, atol=1e-7)


def test_one_site_alone_is_the_identity():
    update, weight = UPDATES[0]
    assert torch.equal(mean_of([(update, weight)])["w"], update["w"])


def test_equal_updates_stay_the_same():
    update = {"w": torch.randn(5, generator=torch.Generator().manual_seed(1))}
    assert torch.allclose(mean_of([(update, 3.0), (update, 11.0)])["w"], update["w"], rtol=1e-7)


def test_scaling_all_weights_changes_nothing():
    scaled = [(update, 7.5 * weight) for update, weight in UPDATES]
    torch.testing.assert_close(mean_of(scaled)["w"], mean_of(UPDATES)["w"])


def test_small_updates_survive_many_large_ones_in_bfloat16():
    big, small = {"w": torch.tensor([256.0], dtype=torch.bfloat16)}, {"w": torch.tensor([1.0], dtype=torch.bfloat16)}
    mean = RunningMean()
    for _ in range(99):
        mean = fold(mean, small, 1.0)
    mean = fold(mean, big, 1.0)
    assert finish(mean)["w"].item() == pytest.approx(3.55)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        fold(RunningMean(), {"w": torch.ones(1)}, weight)


def test_other_tensors_than_before_are_refused():
    with pytest.raises(ValueError, match="different tensors"):
        fold(fold(RunningMean(), {"w": torch.ones(1)}, 1.0), {"v": torch.ones(1)}, 1.0)


def test_site_weights():
    assert [site_weight("patients", n) for n in (3, 12)] == [3.0, 12.0]
    assert [site_weight("equal", n) for n in (3, 12)] == [1.0, 1.0]
    with pytest.raises(ValueError, match="without patients"):
        site_weight("patients", 0)
