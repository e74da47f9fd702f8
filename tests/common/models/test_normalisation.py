"""Statistics fitted to a site's images, against torch's own update and by hand."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from common.models.normalisation import fit_statistics, has_batch_norm


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))


def batches(number=3):
    random = torch.Generator().manual_seed(1)
    return [2.0 + 3.0 * torch.randn(5, 1, 8, 8, generator=random) for _ in range(number)]


def test_statistics_are_those_of_torchs_own_update():
    ours, oracle = network(), network()
    fit_statistics(ours, batches())
    update_bn(batches(), oracle)
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_a_first_layers_statistics_by_hand():
    norm, images = nn.Sequential(nn.BatchNorm2d(1)), batches(2)
    fit_statistics(norm, images)
    assert norm[0].running_mean.item() == pytest.approx((images[0].mean() + images[1].mean()).item() / 2)
    assert norm[0].running_var.item() == pytest.approx((images[0].var() + images[1].var()).item() / 2)


def test_parameters_momentum_and_mode_are_as_before_and_dropout_is_off():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.9), nn.BatchNorm2d(1)).train()
    parameters = [value.clone() for value in model.parameters()]
    fit_statistics(model, batches())
    assert all(torch.equal(*pair) for pair in zip(parameters, model.parameters(), strict=True))
    assert not model.training and model[0].momentum == 0.1
    assert model[2].running_mean.item() == pytest.approx(0.0, abs=1e-5), "nothing was dropped on the way"
    assert model[2].running_var.item() == pytest.approx(1.0, abs=0.02)


def test_without_images_there_are_no_statistics():
    with pytest.raises(ValueError, match="no images"):
        fit_statistics(network(), [])


def test_group_norm_is_no_batch_norm():
    assert has_batch_norm(network()) and not has_batch_norm(nn.Sequential(nn.GroupNorm(1, 2)))
