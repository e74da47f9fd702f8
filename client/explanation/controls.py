"""Maps that know nothing of the model: what an explanation has to beat."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from client.explanation.cam import FINEST_STRIDE
from client.explanation.maps import Maps


def control_maps(images: torch.Tensor, seed: int) -> dict[str, Maps]:
    """``intensity``, the image itself, and ``random``, smooth noise.

    Both are 0 outside the breast, where prepared images hold their minimum, and 0 or more inside.

    Args:
        images: ``(N, 1, H, W)``.
        seed: of the noise.

    Returns:
        Name to maps ``(N, H, W)``.
    """
    pixels = images[:, 0].detach().cpu().numpy().astype(np.float32)
    intensity = pixels - pixels.min(axis=(1, 2), keepdims=True)
    noise = np.random.default_rng(seed).standard_normal(pixels.shape).astype(np.float32)
    # As coarse as the maps of the CAM family, so that size of the spots is no advantage.
    noise = gaussian_filter(noise, sigma=FINEST_STRIDE / 2, axes=(1, 2))
    noise -= noise.min(axis=(1, 2), keepdims=True)
    return {"intensity": intensity, "random": np.where(intensity > 0.0, noise, np.float32(0.0))}
