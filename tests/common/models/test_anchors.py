"""Anchors by hand, and whether they reach every lesion they are meant for."""

import pytest
import torch
from torchvision.ops import box_iou

from common.configuration import DetectorConfig, ImagingConfig
from common.models.anchors import AnchorLevel, anchor_levels, input_spacing_mm, place_anchors
from common.models.backbones import BACKBONES, Stage


def stages(*strides):
    return [Stage(f"layer{stride}", (f"layer{stride}",), stride) for stride in strides]


def test_sizes_are_even_octaves_over_the_levels():
    levels = anchor_levels(10.0, 320.0, stages(4, 8))
    assert [level.stage.stride for level in levels] == [4, 8]
    assert [size for level in levels for size in level.sizes] == pytest.approx([10, 20, 40, 80, 160, 320])


@pytest.mark.parametrize(("smallest", "finest"), [(6.0, 4), (12.0, 4), (20.0, 8), (45.0, 16), (500.0, 32)])
def test_levels_too_fine_are_left_out(smallest, finest):
    """The smallest anchor is two and a half cells wide where that can be had."""
    assert anchor_levels(smallest, 10 * smallest, stages(4, 8, 16, 32))[0].stage.stride == finest


def test_anchors_of_a_cell_by_hand():
    """Cell (1, 2) at stride 8, its first cell centred on pixel 1: middle at (1.5 + 16, 1.5 + 8)."""
    level = AnchorLevel(Stage("x", ("x",), 8, 1.0), (6.0, 12.0))
    anchors = place_anchors(level, 3, 4).reshape(3, 4, 6, 4)
    square = anchors[1, 2, 1]
    assert square.tolist() == [17.5 - 3, 9.5 - 3, 17.5 + 3, 9.5 + 3]
    sides = anchors[1, 2, :, 2:] - anchors[1, 2, :, :2]
    assert sides.prod(dim=1).tolist() == pytest.approx([36] * 3 + [144] * 3, rel=1e-5)
    assert (sides[:, 1] / sides[:, 0]).tolist() == pytest.approx([2 / 3, 1, 3 / 2] * 2, rel=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "resnet18"])
@pytest.mark.parametrize("rows", [256, 1024])
def test_every_lesion_meets_an_anchor(name, rows):
    """Random lesions of 5 to 50 mm, round to 2:3: half must be overlapped by half, all by more than a hit asks for."""
    random, columns = torch.Generator().manual_seed(0), rows * 3 // 4
    spacing = input_spacing_mm(ImagingConfig(height=rows), DetectorConfig())
    levels = anchor_levels(5.0 / spacing, 50.0 / spacing, BACKBONES[name]().stages[1:])
    anchors = torch.cat([place_anchors(v, -(-rows // v.stage.stride), -(-columns // v.stage.stride)) for v in levels])
    side = 5.0 * 10 ** torch.rand(60, generator=random) / spacing
    shape = torch.exp(0.4 * (torch.rand(60, generator=random) - 0.5))
    sides = torch.stack([side * shape, side / shape], dim=1)
    room = torch.tensor([columns, rows]) - sides
    corner = torch.rand(60, 2, generator=random) * room
    best = box_iou(torch.cat([corner, corner + sides], dim=1), anchors).amax(dim=1)
    assert best.min() > 0.35 and best.quantile(0.1) > 0.5


def test_spacing_is_that_of_resampling_or_of_the_frame():
    assert input_spacing_mm(ImagingConfig(spacing_mm=0.2, height=1024), DetectorConfig()) == 0.2
    assert input_spacing_mm(ImagingConfig(height=256), DetectorConfig(frame_mm=192.0)) == 0.75
