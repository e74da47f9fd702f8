"""A detector that was taught something simple."""

import numpy as np
import pytest
import torch

from tests.common.models.test_detector import build_detector, task


@pytest.fixture(scope="session")
def taught():
    """A detector of bright squares on noise, and pictures with one square each, and where it is."""
    torch.manual_seed(0)
    model, random = build_detector(task(), 0), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        images, boxes = squares(random, 4)
        loss = model.losses(model(images), [torch.tensor([box], dtype=torch.float32) for box in boxes]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def squares(random, number):
    images, boxes = random.normal(0, 0.5, (number, 1, 64, 48)).astype(np.float32), []
    for image in images:
        x, y, side = random.integers(2, 30), random.integers(2, 46), random.integers(12, 17)
        image[0, y : y + side, x : x + side] += 3
        boxes.append((x, y, x + side, y + side))
    return torch.from_numpy(images), boxes
