"""Random changes of a training batch that leave its label true; each image draws its own."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from common.configuration import AugmentationConfig
from common.imaging.harmonise import DARKEST


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
    air = images.amin(dim=(1, 2, 3), keepdim=True)
    moved = _move(images - air, config, generator)
    breast = moved > 1e-3
    moved = moved + air
    changed = _intensity(moved, config, generator)
    changed = _blur(changed, config, generator)
    if config.noise > 0:
        strength = config.noise * torch.rand(len(images), 1, 1, 1, generator=generator)
        changed = changed + strength * torch.randn(images.shape, generator=generator)
    return torch.where(breast, torch.maximum(changed, moved.clamp(max=DARKEST)), air)


def _uniform(count: int, strength: float, generator: torch.Generator) -> torch.Tensor:
    """``(count,)`` in -strength..strength."""
    return strength * (2 * torch.rand(count, generator=generator) - 1)


def _move(images: torch.Tensor, config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    """One affine resampling: rotation, scale, shift and flip; zero comes in from outside."""
    count, _, rows, columns = images.shape
    angle = _uniform(count, math.radians(config.rotation_degrees), generator)
    scale = torch.exp(_uniform(count, math.log1p(config.scale), generator))
    shift = torch.stack([_uniform(count, 2 * config.shift, generator) for _ in range(2)], dim=1)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    if not (config.flip or config.rotation_degrees or config.scale or config.shift):
        return images
    cosine, sine, aspect = torch.cos(angle) / scale, torch.sin(angle) / scale, rows / columns
    matrix = torch.stack(
        [
            torch.stack([cosine, -sine * aspect * flip, shift[:, 0]], dim=1),
            torch.stack([sine / aspect, cosine * flip, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


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
