"""Each rule keeps the sum, is the gradient averaged along the line, and is the gradient where nothing differs."""

import pytest
import torch
from torch import nn

from client.explanation.multipliers import (
    ElementwiseRule,
    LogSumExpRule,
    MaxPoolRule,
    NormalisationRule,
    ProductRule,
    pooled_by_weight,
)

RULES = {
    "relu": (ElementwiseRule(nn.functional.relu), nn.functional.relu, [(3, 4, 5)]),
    "silu": (ElementwiseRule(nn.functional.silu), nn.functional.silu, [(3, 4, 5)]),
    "gelu": (ElementwiseRule(nn.functional.gelu), nn.functional.gelu, [(3, 4, 5)]),
    "product": (ProductRule(), torch.mul, [(3, 4, 1, 1), (3, 4, 5, 6)]),
    "normalisation": (NormalisationRule(1e-5), lambda x: nn.functional.layer_norm(x, x.shape[-1:]), [(3, 2, 40)]),
    "overlapping maximum": (MaxPoolRule(3, 2, 1), lambda x: nn.functional.max_pool2d(x, 3, 2, 1), [(2, 3, 9, 8)]),
    "maximum": (MaxPoolRule(2, 2, 0), lambda x: nn.functional.max_pool2d(x, 2, 2), [(2, 3, 8, 6)]),
}
PATH_STEPS = 4000


def drawn(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def multipliers(rule, views, references, weights):
    """What the rule hands back to both halves, for the outputs weighted by ``weights``."""
    stacked = [torch.cat(pair).requires_grad_() for pair in zip(views, references, strict=True)]
    gradients = torch.autograd.grad((rule(*stacked) * torch.cat([weights, weights])).sum(), stacked)
    for gradient in gradients:
        torch.testing.assert_close(*gradient.chunk(2))
    return [gradient.chunk(2)[1] for gradient in gradients]


def averaged_along_the_line(function, views, references, weights):
    """Midpoint rule with thousands of steps, straight from autograd."""
    totals = [torch.zeros_like(view) for view in views]
    for step in range(PATH_STEPS):
        along = (step + 0.5) / PATH_STEPS
        points = [(b + along * (a - b)).requires_grad_() for a, b in zip(views, references, strict=True)]
        slopes = torch.autograd.grad((function(*points) * weights).sum(), points)
        totals = [total + slope / PATH_STEPS for total, slope in zip(totals, slopes, strict=True)]
    return totals


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_is_the_gradient_averaged_along_the_line_and_keeps_the_sum(name):
    rule, function, shapes = RULES[name]
    views, references = drawn(shapes, 0), drawn(shapes, 1)
    output, other = function(*views), function(*references)
    torch.testing.assert_close(rule(*views), output)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = multipliers(rule, views, references, weights)
    for one, expected in zip(found, averaged_along_the_line(function, views, references, weights), strict=True):
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(one, expected, atol=2e-3, rtol=0.0)
    total = sum(((a - b) * m).sum() for a, b, m in zip(views, references, found, strict=True))
    assert total.item() == pytest.approx(((output - other) * weights).sum().item(), rel=1e-9)


@pytest.mark.parametrize("name", list(RULES))
def test_where_nothing_differs_a_rule_is_the_gradient(name):
    rule, function, shapes = RULES[name]
    views = drawn(shapes, 0)
    weights = torch.randn(function(*views).shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points = [view.clone().requires_grad_() for view in views]
    expected = torch.autograd.grad((function(*points) * weights).sum(), points)
    for one, slope in zip(multipliers(rule, views, views, weights), expected, strict=True):
        torch.testing.assert_close(one, slope)


def test_the_maximum_of_windows_full_of_ties_keeps_the_sum():
    """As after a ReLU: most pixels 0 in both, or equal all along."""
    views, references = ([half.clamp(min=0.8) - 0.8 for half in drawn([(2, 4, 16, 16)], seed)] for seed in (0, 1))
    references[0][:, :2] = views[0][:, :2]
    rule = MaxPoolRule(3, 2, 1)
    output, other = rule(*views), rule(*references)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (found,) = multipliers(rule, views, references, weights)
    assert torch.isfinite(found).all()
    total = ((views[0] - references[0]) * found).sum().item()
    assert total == pytest.approx(((output - other) * weights).sum().item(), rel=1e-9)


@pytest.mark.parametrize("sharpness", [0.5, 4.0, 100.0])
def test_log_sum_exp_keeps_the_sum_when_the_cells_that_count_differ(sharpness):
    local, other = drawn([(3, 20)], 0)[0] * 3, drawn([(3, 20)], 1)[0] * 3
    counts, other_counts = ((cells[0] > 0).double() for cells in (drawn([(3, 20)], 2), drawn([(3, 20)], 3)))
    counts[:, 0], other_counts[:, 1] = 1.0, 1.0
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    rule = LogSumExpRule(sharpness)
    to_local, to_counts = multipliers(rule, [local, counts], [other, other_counts], weights)
    total = ((local - other) * to_local).sum() + ((counts - other_counts) * to_counts).sum()
    outputs = [
        torch.stack([(sharpness * row[cells > 0]).logsumexp(0) - (cells > 0).sum().log() for row, cells in pairs])
        / sharpness
        for pairs in (list(zip(local, counts, strict=True)), list(zip(other, other_counts, strict=True)))
    ]
    torch.testing.assert_close(rule(local, counts), outputs[0])
    assert total.item() == pytest.approx(((outputs[0] - outputs[1]) * weights).sum().item(), rel=1e-7)


def test_log_sum_exp_between_neighbours_is_the_gradient():
    local, counts = drawn([(2, 12)], 0)[0], torch.ones(2, 12, dtype=torch.float64)
    near = local + 1e-7
    weights = torch.ones(2, dtype=torch.float64)
    (to_local, _) = multipliers(LogSumExpRule(4.0), [near, counts], [local, counts], weights)
    expected = torch.softmax(4.0 * local, dim=1)
    torch.testing.assert_close(to_local, expected, atol=1e-5, rtol=0.0)


def test_a_cell_that_does_not_count_changes_nothing_however_high_it_is():
    local = torch.tensor([[0.1, 0.2, 90.0]])
    counts = torch.tensor([[1.0, 1.0, 0.0]])
    assert pooled_by_weight(local, counts, 100.0).item() == pytest.approx(
        pooled_by_weight(local[:, :2], counts[:, :2], 100.0).item()
    )
