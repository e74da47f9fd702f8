"""Random changes of a training batch that leave its label true; each image draws its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from common.configuration import AugmentationConfig
from common.imaging.harmonise import DARKEST

LEAST_SHOWN = 0.25
"""Of a lesion moved over the edge so much must be left, or it is no example of one."""


def augment(images: torch.Tensor, config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    """Flip, move, and change intensity, noise and sharpness of a batch.

    The chest wall stays left: images are mirrored top to bottom only. What comes in from outside is
    air, the image's own smallest value; tissue stays above it.

    Args:
        images: float32 ``(N, 1, H, W)``; not changed.
        config: strengths; all zero gives the images back.
        generator: source of all randomness.

    Returns:
        float32 ``(N, 1, H, W)``.
    """
    return augment_with_boxes(images, [torch.empty(0, 4)] * len(images), config, generator)[0]


def augment_with_boxes(
    images: torch.Tensor, boxes: Sequence[torch.Tensor], config: AugmentationConfig, generator: torch.Generator
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The same as :func:`augment`, with the lesions' boxes moved as their pictures are.

    Args:
        images: float32 ``(N, 1, H, W)``; not changed.
        boxes: of each image ``(L, 4)``, x0, y0, x1, y1 in pixels.
        config: strengths.
        generator: source of all randomness.

    Returns:
        Images, and the boxes around the moved lesions, cut off at the frame; what is shown less than a quarter of is
        left out.
    """
    air = images.amin(dim=(1, 2, 3), keepdim=True)
    matrix = _affine(images.shape, config, generator)
    moved = images - air if matrix is None else _move(images - air, matrix)
    breast = moved > 1e-3
    moved = moved + air
    changed = _intensity(moved, config, generator)
    changed = _blur(changed, config, generator)
    if config.noise > 0:
        strength = config.noise * torch.rand(len(images), 1, 1, 1, generator=generator)
        changed = changed + strength * torch.randn(images.shape, generator=generator)
    changed = torch.where(breast, torch.maximum(changed, moved.clamp(max=DARKEST)), air)
    if matrix is None:
        return changed, list(boxes)
    rows, columns = images.shape[2:]
    return changed, [move_boxes(some, one, rows, columns) for some, one in zip(boxes, matrix, strict=True)]


def _uniform(count: int, strength: float, generator: torch.Generator) -> torch.Tensor:
    """``(count,)`` in -strength..strength."""
    return strength * (2 * torch.rand(count, generator=generator) - 1)


def _affine(shape: torch.Size, config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor | None:
    """Rotation, scale, shift and flip of each image, ``(N, 2, 3)``: from places in the result to places in the image,
    both -1 to 1 over the frame. ``None`` where nothing may move."""
    count, _, rows, columns = shape
    angle = _uniform(count, math.radians(config.rotation_degrees), generator)
    scale = torch.exp(_uniform(count, math.log1p(config.scale), generator))
    shift = torch.stack([_uniform(count, 2 * config.shift, generator) for _ in range(2)], dim=1)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    if not (config.flip or config.rotation_degrees or config.scale or config.shift):
        return None
    cosine, sine, aspect = torch.cos(angle) / scale, torch.sin(angle) / scale, rows / columns
    return torch.stack(
        [
            torch.stack([cosine, -sine * aspect * flip, shift[:, 0]], dim=1),
            torch.stack([sine / aspect, cosine * flip, shift[:, 1]], dim=1),
        ],
        dim=1,
    )


def _move(images: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """One resampling; zero comes in from outside."""
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def move_boxes(boxes: torch.Tensor, matrix: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Boxes where the resampling by ``matrix`` puts what they hold.

    What a box holds is taken for the ellipse that fills it: masses have no corners, and the box around turned corners
    would be up to a sixth too wide at ten degrees.

    Args:
        boxes: ``(L, 4)``, pixels.
        matrix: ``(2, 3)``, from the result to the image, -1 to 1 over the frame.
        rows, columns: of the frame.

    Returns:
        ``(K, 4)``: cut off at the frame; without those of which less than a quarter is left.
    """
    half = torch.tensor([columns / 2, rows / 2])
    middle, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    back = torch.linalg.inv(matrix[:, :2])
    centre = ((middle / half - 1 - matrix[:, 2]) @ back.T + 1) * half
    # Row i of the linear part, times the ellipse's half axes: its largest extent in direction i.
    linear = back * half[:, None] / half[None, :]
    extent = (linear[None] * reach[:, None, :]).norm(dim=2)
    whole = torch.cat([centre - extent, centre + extent], dim=1)
    shown = torch.stack(
        [
            whole[:, 0].clamp(0, columns),
            whole[:, 1].clamp(0, rows),
            whole[:, 2].clamp(0, columns),
            whole[:, 3].clamp(0, rows),
        ],
        dim=1,
    )
    return shown[_areas(shown) >= LEAST_SHOWN * _areas(whole)]


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


def _intensity(images: torch.Tensor, config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    """A random monotone curve: gain, offset and a bend that brightens or darkens the middle."""
    if config.intensity == 0:
        return images
    count = len(images)
    gain, offset, bend = (_uniform(count, config.intensity, generator).view(-1, 1, 1, 1) for _ in range(3))
    return images * torch.exp(gain) + offset + bend * torch.tanh(images) ** 2


def _blur(images: torch.Tensor, config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    """Some images, softened by a binomial filter of 3 x 3."""
    chosen = torch.rand(len(images), generator=generator) < config.blur
    if not bool(chosen.any()):
        return images
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    soft = functional.conv2d(
        functional.pad(images[chosen], (1, 1, 1, 1), mode="replicate"), torch.outer(kernel, kernel)[None, None]
    )
    result = images.clone()
    result[chosen] = soft
    return result
