"""Which tensors sites keep for themselves, by module and by hand."""

import pytest
from torch import nn

from common.configuration import load_run
from common.models.network import build_network
from common.parameters import local_names, trained_names


class Small(nn.Module):
    """A convolution, a batch norm and a group norm below ``backbone``, and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
        self.head = nn.Linear(4, 1)


STATISTICS = {"backbone.1.running_mean", "backbone.1.running_var", "backbone.1.num_batches_tracked"}
NORM = STATISTICS | {"backbone.1.weight", "backbone.1.bias"}


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("all", set()),
        ("norm_statistics_local", STATISTICS),
        ("norm_local", NORM),
        ("backbone", {"head.weight", "head.bias"}),
    ],
)
def test_what_stays_at_a_site(choice, kept):
    model = Small()
    assert local_names(model, choice) == kept
    parameters = {name for name, _ in model.named_parameters()}
    assert trained_names(model, choice) == parameters - kept


def test_frozen_parameters_are_not_trained():
    model = Small()
    model.backbone[0].requires_grad_(False)
    assert not {"backbone.0.weight", "backbone.0.bias"} & trained_names(model, "all")


def test_a_network_without_batch_norm_has_none_to_keep():
    model = build_network(load_run("detector-demo", ["model.backbone=resnet8", "detector.channels=8"]), 0)
    with pytest.raises(ValueError, match="no batch norm"):
        local_names(model, "norm_local")
    assert all(name.startswith(("pyramid.", "head.")) for name in local_names(model, "backbone"))


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="'nothing'"):
        local_names(Small(), "nothing")
