"""Gradients of the objectives against the papers' formulas on problems that are solved by hand."""

import pytest
import torch
from torch import nn

from client.objectives import Guidance, backward_of
from common.configuration import MethodConfig

CURVATURE = torch.tensor([1.0, 4.0])


class Quadratic(nn.Module):
    """Loss 1/2 sum a w^2, gradient a w; ``bias`` stands for a layer of the site's own."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, -1.0]))
        self.bias = nn.Parameter(torch.tensor([2.0]))

    def loss(self):
        return 0.5 * (CURVATURE * self.w**2).sum() + 0.5 * (self.bias**2).sum()


def gradients(method, guidance=None, moved=0.0):
    """Gradient after one backward pass of a model that has moved since the round began."""
    model = Quadratic()
    backward = backward_of(method, model, guidance or Guidance(), torch.Generator())
    with torch.no_grad():
        for value in model.parameters():
            value += moved
    value = backward(model.loss)
    assert value == pytest.approx(model.loss().item()), "the batch's own loss is told, without penalty"
    return model.w.grad, model.bias.grad


def test_the_proximal_gradient_is_mu_times_the_distance():
    plain, _ = gradients(MethodConfig(), moved=0.5)
    held, own = gradients(MethodConfig(local_objective="proximal", mu=0.7), moved=0.5)
    torch.testing.assert_close(plain, CURVATURE * torch.tensor([3.5, -0.5]))
    torch.testing.assert_close(held - plain, torch.full((2,), 0.7 * 0.5))
    assert own.item() == pytest.approx(2.5 + 0.7 * 0.5)


def test_own_layers_are_not_held_by_the_common_model():
    guidance = Guidance(local=frozenset({"bias"}))
    assert gradients(MethodConfig(local_objective="proximal", mu=0.7), guidance, 0.5)[1].item() == pytest.approx(2.5)


def test_a_given_anchor_is_held_on_to_instead_of_the_beginning():
    anchor = {"w": torch.zeros(2), "bias": torch.zeros(1)}
    held, _ = gradients(MethodConfig(local_objective="proximal", mu=2.0), Guidance(anchor=anchor))
    torch.testing.assert_close(held, (CURVATURE + 2.0) * torch.tensor([3.0, -1.0]))


def test_control_variates_shift_the_gradient_of_common_parameters_alone():
    guidance = Guidance(correction={"w": torch.tensor([0.25, -8.0])})
    shifted, own = gradients(MethodConfig(local_objective="control_variates"), guidance)
    torch.testing.assert_close(shifted, torch.tensor([3.25, -12.0]))
    assert own.item() == 2.0


def test_ditto_trains_the_model_that_travels_plainly():
    travelling, _ = gradients(MethodConfig(local_objective="ditto", mu=5.0), moved=0.5)
    torch.testing.assert_close(travelling, gradients(MethodConfig(), moved=0.5)[0])


def test_the_sharpness_aware_gradient_by_hand():
    """Gradient (3, -4, 2) of norm sqrt(29); a step of rho uphill, and the gradient there."""
    found, own = gradients(MethodConfig(local_objective="sharpness_aware", rho=0.5))
    uphill = 0.5 / 29**0.5 * torch.tensor([3.0, -4.0])
    torch.testing.assert_close(found, CURVATURE * (torch.tensor([3.0, -1.0]) + uphill))
    assert own.item() == pytest.approx(2.0 + 0.5 / 29**0.5 * 2.0)


class Noisy(nn.Module):
    """Draws from a generator as augmentation does and from torch's as dropout does; counts in batch norm."""

    def __init__(self, generator):
        super().__init__()
        self.generator, self.seen = generator, []
        self.norm, self.drop, self.out = nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1)

    def loss(self):
        images = torch.randn(6, 3, generator=self.generator)
        dropped = self.drop(torch.ones(8))
        self.seen.append((images, dropped))
        return self.out(self.norm(images)).pow(2).mean() * dropped.sum()


def test_both_looks_see_the_same_and_leave_model_statistics_and_generators_as_one_look_would():
    torch.manual_seed(1)
    start = Noisy(None).state_dict()
    after = []
    for objective in ("plain", "sharpness_aware"):
        generator = torch.Generator().manual_seed(5)
        model = Noisy(generator)
        model.load_state_dict(start)
        torch.manual_seed(2)
        backward_of(MethodConfig(local_objective=objective), model, Guidance(), generator)(model.loss)
        after.append((model, generator.get_state(), torch.get_rng_state()))
    (plain, *one), (sharp, *two) = after
    assert all(torch.equal(*pair) for pair in zip(*sharp.seen, strict=True)) and len(sharp.seen) == 2
    assert all(torch.equal(value, sharp.state_dict()[name]) for name, value in plain.state_dict().items())
    assert not torch.equal(plain.state_dict()["norm.running_mean"], start["norm.running_mean"])
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert not torch.allclose(plain.out.weight.grad, sharp.out.weight.grad)
