"""Where a network is placed, and in which memory layout."""

from __future__ import annotations

import pytest
import torch

from client.compute import Compute
from common.configuration import ModelConfig, TaskConfig
from common.models.network import Network, build_network

CPU = Compute(torch.device("cpu"), bf16=False)


def network(norm: str) -> Network:
    return build_network(TaskConfig(model=ModelConfig(backbone="resnet8", norm=norm)), seed=0).eval()


def kernels(model: Network) -> list[torch.Tensor]:
    """Weights whose layout shows: more than one channel, wider than a pixel."""
    return [value for value in model.parameters() if value.ndim == 4 and min(value.shape[1:]) > 1]


@pytest.mark.parametrize(("norm", "layout"), [("batch", torch.channels_last), ("group", torch.contiguous_format)])
def test_each_kind_of_normalisation_gets_the_layout_that_it_trains_fastest_in_on_a_cpu(
    norm: str, layout: torch.memory_format
) -> None:
    model = network(norm)
    CPU.place_model(model)
    assert kernels(model)
    assert all(value.is_contiguous(memory_format=layout) for value in kernels(model))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_layout_changes_no_score(norm: str) -> None:
    model, images = network(norm), torch.randn(3, 1, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(images)
        CPU.place_model(model)
        assert torch.allclose(model(CPU.place(images)), before, atol=1e-5)


def test_a_network_that_lay_otherwise_is_put_right() -> None:
    model = network("group").to(memory_format=torch.channels_last)
    CPU.place_model(model)
    assert all(value.is_contiguous() for value in kernels(model))
