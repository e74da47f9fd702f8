"""Backward passes of deep SHAP: what a layer hands back is its share of a difference, not its slope.

Every module here is an ordinary layer in the forward pass. In the backward pass the batch is two halves,
explained views and as many references, and the gradient that leaves it holds *multipliers*: numbers m with
``sum(m * (input - reference)) = sum(gradient * (output - output of the reference))``. That equation, kept by
every layer, makes a network's attributions add up to the difference of its outputs (DeepLIFT, Shrikumar et al.
2017, "Learning important features through propagating activation differences", section 3.2).

Of the multipliers that keep it, these are the layer's gradient averaged along the straight line from reference to
input (Aumann and Shapley 1974; Sundararajan et al. 2017, "Axiomatic attribution for deep networks"), in closed form
where there is one. Between two halves that are equal the multiplier is the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

EQUAL = 1e-6
"""Differences below it are rounding: there the slope takes the quotient's place."""
WINDOWS_AT_ONCE = 1 << 16
_NODES, _WEIGHTS = ((torch.from_numpy(values)) for values in np.polynomial.legendre.leggauss(64))

Elementwise = Callable[[torch.Tensor], torch.Tensor]


def halves(stacked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Explained views and references of a batch."""
    views, references = stacked.chunk(2)
    return views, references


def both(multiplier: torch.Tensor) -> torch.Tensor:
    """The same multipliers for both halves of the batch."""
    return torch.cat([multiplier, multiplier])


class ElementwiseRule(nn.Module):
    """A function of single values, as ReLU or SiLU: the slope of the chord (DeepLIFT's rescale rule)."""

    def __init__(self, function: Elementwise) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The function, value by value."""
        outputs: torch.Tensor = _Chord.apply(inputs, self.function)
        return outputs


class _Chord(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, function: Elementwise) -> torch.Tensor:
        outputs = function(inputs)
        ctx.save_for_backward(inputs, outputs)
        ctx.function = function
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        inputs, outputs = ctx.saved_tensors
        (view, reference), (view_out, reference_out) = halves(inputs), halves(outputs)
        step = view - reference
        with torch.enable_grad():
            middle = ((view + reference) / 2).requires_grad_()
            (slope,) = torch.autograd.grad(ctx.function(middle).sum(), middle)
        slope = torch.where(step.abs() < EQUAL, slope, (view_out - reference_out) / step)
        return both(slope * halves(gradient)[1]), None


class ProductRule(nn.Module):
    """The product of two branches, as in squeeze and excitation: each times the other's mean."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``one * other``, broadcast."""
        product: torch.Tensor = _Product.apply(one, other)
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(one, other)
        return one * other

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one, other = ctx.saved_tensors
        shared = halves(gradient)[1]
        mean_one, mean_other = ((view + reference) / 2 for view, reference in (halves(one), halves(other)))
        to_one, to_other = shared * mean_other, shared * mean_one
        return both(to_one.sum_to_size(mean_one.shape)), both(to_other.sum_to_size(mean_other.shape))


class NormalisationRule(nn.Module):
    """Subtract the mean of the last dimension and divide by its deviation, as group and layer normalisation do."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, groups: torch.Tensor) -> torch.Tensor:
        """Normalised ``(..., M)``, without scale and offset."""
        normalised: torch.Tensor = _Normalised.apply(groups, self.eps)
        return normalised


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, groups: torch.Tensor, eps: float) -> torch.Tensor:
        ctx.save_for_backward(groups)
        ctx.eps = eps
        return F.layer_norm(groups, groups.shape[-1:], eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The integral of J(t)' g over t in 0..1, where s(t) is the deviation and c(t) the centred values.

        J' g = (g - mean g) / s - c mean(g c) / s³; c is linear and s² quadratic in t, so that all that is left to
        integrate are four numbers a group: 1/s, 1/s³, t/s³ and t²/s³ (Gauss-Legendre).
        """
        (groups,) = ctx.saved_tensors
        view, reference = halves(groups)
        start = reference - reference.mean(-1, keepdim=True)
        step = view - view.mean(-1, keepdim=True) - start
        along = (_NODES.to(groups.device) + 1) / 2
        square, mixed, constant = ((a * b).mean(-1, keepdim=True).double() for a, b in
                                   ((step, step), (start, step), (start, start)))  # fmt: skip
        variance = constant + along * (2 * mixed + along * square) + ctx.eps
        weights = _WEIGHTS.to(groups.device) / 2
        inverse = (weights * variance.rsqrt()).sum(-1, keepdim=True).to(groups)
        cubed = weights * variance**-1.5
        none, once, twice = ((cubed * along**power).sum(-1, keepdim=True).to(groups) for power in range(3))
        shared = halves(gradient)[1]
        on_start, on_step = ((shared * part).mean(-1, keepdim=True) for part in (start, step))
        multiplier = inverse * (shared - shared.mean(-1, keepdim=True))
        multiplier -= start * (on_start * none + on_step * once) + step * (on_start * once + on_step * twice)
        return both(multiplier), None


class MaxPoolRule(nn.Module):
    """The maximum of windows, overlapping or not: each pixel gets the share of the line on which it is the maximum."""

    def __init__(self, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maxima ``(N, C, h, w)`` of ``(N, C, H, W)``."""
        maxima: torch.Tensor = _Maximum.apply(inputs, self.kernel, self.stride, self.padding)
        return maxima


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, kernel: int, stride: int, padding: int) -> torch.Tensor:
        maxima, ctx.places = F.max_pool2d(inputs, kernel, stride, padding, return_indices=True)
        ctx.save_for_backward(inputs)
        ctx.window = kernel, stride, padding
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (inputs,) = ctx.saved_tensors
        view, reference = halves(inputs)
        place, other_place = halves(ctx.places)
        shared = halves(gradient)[1].contiguous()
        rows, columns = view.shape[2:]
        multiplier = torch.zeros(view.shape[:2].numel(), rows * columns, dtype=view.dtype, device=view.device)
        # A pixel that is the maximum at both ends is so all along: the maximum of straight lines is convex.
        same = place == other_place
        multiplier.scatter_add_(1, place.flatten(0, 1).flatten(1), (shared * same).flatten(0, 1).flatten(1))
        moved = torch.nonzero(~same.flatten(0, 1).flatten(1))
        pixels, inside = _pixels_of_windows((place.shape[2], place.shape[3]), (rows, columns), ctx.window, view.device)
        starts, ends, weights = (half.flatten() for half in (reference, view, shared))
        for plane, window in (some.unbind(1) for some in torch.split(moved, WINDOWS_AT_ONCE)):
            at = plane[:, None] * (rows * columns) + pixels[window]
            start = starts.take(at)
            share = _shares_of_the_line(start, ends.take(at) - start, inside[window])
            share *= weights.take(plane * len(pixels) + window)[:, None]
            multiplier.view(-1).scatter_add_(0, at.flatten(), share.flatten())
        return both(multiplier.view_as(view)), None, None, None


def _pixels_of_windows(
    windows: tuple[int, int], size: tuple[int, int], shape: tuple[int, int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat positions ``(h w, kernel²)`` of every window's pixels, and which of them lie in the picture."""
    kernel, stride, padding = shape
    row, column = (
        torch.arange(number, device=device)[:, None] * stride - padding + torch.arange(kernel, device=device)
        for number in windows
    )
    inside_rows, inside_columns = ((at >= 0) & (at < limit) for at, limit in zip((row, column), size, strict=True))
    flat = row.clamp(0, size[0] - 1)[:, None, :, None] * size[1] + column.clamp(0, size[1] - 1)[None, :, None, :]
    inside = inside_rows[:, None, :, None] & inside_columns[None, :, None, :]
    return flat.flatten(0, 1).flatten(1), inside.flatten(0, 1).flatten(1)


def _shares_of_the_line(start: torch.Tensor, slope: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """For lines ``start + t slope`` ``(M, K)`` that count: the share of t in 0..1 on which each is the highest.

    Goes from leader to leader. Each is steeper than the one before, so that there are at most K, mostly two.
    """
    start = start.masked_fill(~counts, torch.finfo(start.dtype).min / 2)
    slope = slope.masked_fill(~counts, 0.0)
    shares = torch.zeros_like(start)
    leader, now = start.argmax(1, keepdim=True), torch.zeros_like(start[:, :1])
    racing = torch.arange(len(start), device=start.device)
    while len(racing):
        begins, slopes = start[racing], slope[racing]
        faster = slopes - slopes.gather(1, leader)
        overtakes = torch.where(faster > 0, (begins.gather(1, leader) - begins) / faster, torch.inf)
        at, rival = torch.maximum(overtakes, now).min(1, keepdim=True)
        shares[racing] = shares[racing].scatter_add(1, leader, at.clamp(max=1.0) - now)
        goes_on = at[:, 0] < 1.0
        racing, leader, now = racing[goes_on], rival[goes_on], at[goes_on]
    return shares


class LogSumExpRule(nn.Module):
    """Pooling of local logits over the cells that count, when logits and the cells that count both differ.

    y = (log S - log W) / r with S = sum w exp(r l) and W = sum w. Sums and the two products are shared out as they
    are elsewhere, and a logarithm by its chord: no integral, whatever the sharpness r.
    """

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, local: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Pooled logits ``(N,)`` of local logits ``(N, P)`` with weights ``(N, P)``."""
        pooled: torch.Tensor = _LogSumExp.apply(local, counts, self.sharpness)
        return pooled


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor, counts: torch.Tensor, sharpness: float) -> torch.Tensor:
        ctx.save_for_backward(local, counts)
        ctx.sharpness = sharpness
        return pooled_by_weight(local, counts, sharpness)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        local, counts = (saved.double() for saved in ctx.saved_tensors)
        (view, reference), (count, reference_count) = halves(ctx.sharpness * local), halves(counts)
        step = view - reference
        total, reference_total = (
            (half + cells.log()).logsumexp(1, keepdim=True)
            for half, cells in ((view, count), (reference, reference_count))
        )
        # Where a cell does not count its logit is anything: cut off, it still cancels, without drowning the others.
        highest = torch.maximum(total, reference_total)
        power, reference_power = ((half - highest).clamp(max=0.0).exp() for half in (view, reference))
        # The chord of exp, safe for steps of any size and sign.
        chord = torch.where(step.abs() < EQUAL, (power + reference_power) / 2, (power - reference_power) / step)
        per_total = 1 / _logarithmic_mean(total - highest, reference_total - highest)
        number, reference_number = (cells.sum(1, keepdim=True).log() for cells in (count, reference_count))
        per_number = 1 / _logarithmic_mean(number, reference_number)
        shared = halves(gradient)[1][:, None].double()
        to_local = shared * (count + reference_count) / 2 * chord * per_total
        to_counts = shared / ctx.sharpness * ((power + reference_power) / 2 * per_total - per_number)
        return both(to_local).to(gradient), both(to_counts).to(gradient), None


def pooled_by_weight(local: torch.Tensor, counts: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Log-sum-exp mean ``(N,)`` of local logits ``(N, P)`` with weights 0..1 ``(N, P)``, not all 0."""
    scaled = (sharpness * local).masked_fill(counts == 0, -torch.inf)
    highest = scaled.detach().amax(1, keepdim=True)
    total = (counts * (scaled - highest).exp()).sum(1)
    return (total.log() + highest[:, 0] - counts.sum(1).log()) / sharpness


def _logarithmic_mean(log_one: torch.Tensor, log_other: torch.Tensor) -> torch.Tensor:
    """(a - b) / (log a - log b), and the mean of both where they are all but equal; from the logarithms."""
    one, other, difference = log_one.exp(), log_other.exp(), log_one - log_other
    return torch.where(difference.abs() < EQUAL, (one + other) / 2, (one - other) / difference)
