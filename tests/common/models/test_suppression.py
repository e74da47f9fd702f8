"""Suppression against a plain loop and by hand."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from common.models.suppression import suppress

PAIR = torch.tensor([[0.0, 0, 10, 10], [5.0, 0, 15, 10], [50.0, 50, 60, 60]])
SCORES = torch.tensor([0.5, 0.9, 0.4])


def test_hard_suppression_drops_what_overlaps_a_better_one():
    boxes, scores = suppress(PAIR, SCORES, "nms", 0.2, 0.0, 10)
    assert scores.tolist() == pytest.approx([0.9, 0.4])
    assert boxes.tolist() == PAIR[[1, 2]].tolist()
    assert len(suppress(PAIR, SCORES, "nms", 0.4, 0.0, 10)[1]) == 3, "their overlap is a third"


def test_soft_suppression_lowers_its_score():
    _, scores = suppress(PAIR, SCORES, "soft", 0.2, 0.0, 10)
    lowered = 0.5 * math.exp(-((1 / 3) ** 2) / 0.5)
    assert lowered > 0.4
    assert scores.tolist() == pytest.approx([0.9, lowered, 0.4], rel=1e-5)


@pytest.mark.parametrize("rule", ["nms", "soft"])
def test_limit_and_least_score(rule):
    assert suppress(PAIR, SCORES, rule, 0.2, 0.0, 1)[1].tolist() == pytest.approx([0.9])
    assert suppress(PAIR, SCORES, rule, 0.2, 0.95, 10)[0].shape == (0, 4)
    assert suppress(torch.empty(0, 4), torch.empty(0), rule, 0.2, 0.0, 10)[1].shape == (0,)


def test_soft_suppression_is_that_of_a_plain_loop():
    random = torch.Generator().manual_seed(2)
    corner = 30 * torch.rand(40, 2, generator=random)
    boxes = torch.cat([corner, corner + 5 + 15 * torch.rand(40, 2, generator=random)], dim=1)
    scores = torch.rand(40, generator=random)
    overlap, expected = box_iou(boxes, boxes), []
    left = dict(enumerate(scores.tolist()))
    while left:
        best = max(left, key=lambda index: left[index])
        expected.append((best, left.pop(best)))
        left = {n: score * math.exp(-(float(overlap[best, n]) ** 2) / 0.5) for n, score in left.items()}
    found, values = suppress(boxes, scores, "soft", 0.0, 0.0, 40)
    assert found.tolist() == [boxes[index].tolist() for index, _ in expected]
    assert values.tolist() == pytest.approx([score for _, score in expected], rel=1e-4)
