"""Every shipped row in whole federations: killed and resumed, one site alone, sites in another order."""

import pytest
import torch

from client.training import Round, train
from common.configuration import names, task_of
from server.checkpoint import load, path_of
from simulations.local_grid import LocalGrid
from tests.small_sites import SmallFederation

ROWS = names("method")
STATEFUL = [row for row in ROWS if row not in ("fedavg", "fedprox", "sam")]
"""Whose sites or server carry something from round to round."""


class Killed(BaseException):
    """As SIGKILL: nobody catches it."""


class KilledInRoundTwo(LocalGrid):
    """Ends when the second site of round 2 should train: the first one has, and has kept its state."""

    trained = 0

    def _work(self, message):
        if message.metadata.message_type == "train":
            self.trained += 1
            if self.trained == 4:
                raise Killed
        return super()._work(message)


@pytest.fixture
def small(tmp_path, monkeypatch):
    return SmallFederation(tmp_path, monkeypatch)


def states(folder):
    """What the sites keep, by site and round; the run's identity differs from run to run."""
    files = sorted(folder.glob("sites/*/methods/*/round-*.safetensors"))
    return {(file.parts[-4], file.name): file.read_bytes() for file in files}


def model_of(folder, config, number):
    return load(path_of(folder, number), config).model


@pytest.mark.parametrize("row", STATEFUL)
def test_killed_in_a_round_and_resumed_a_row_gives_the_same_bits(small, tmp_path, row):
    config = small.config(row)
    small.run(tmp_path / "whole", config)
    with pytest.raises(Killed):
        small.run(tmp_path / "killed", config, KilledInRoundTwo)
    records = small.run(tmp_path / "killed", config)
    assert [record.round for record in records] == [1, 2]
    whole, resumed = (load(path_of(tmp_path / name, 2), config) for name in ("whole", "killed"))
    for one, other in (
        (whole.model, resumed.model),
        (whole.optimizer.velocity, resumed.optimizer.velocity),
        (whole.optimizer.square, resumed.optimizer.square),
        (whole.variate, resumed.variate),
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert whole.weights == resumed.weights
    assert states(tmp_path / "whole") == states(tmp_path / "killed")


@pytest.mark.parametrize("row", [row for row in ROWS if row not in ("fedavgm", "fedadam", "fedyogi")])
def test_a_federation_of_one_site_is_local_training(small, tmp_path, row):
    """But for server optimisers, which go other ways on purpose. float32 loses some of model + (trained - model)."""
    config = small.config(row, sites=["MCS"])
    small.run(tmp_path / "run", config)
    model = small.model(config)
    for number in (1, 2):
        train(model, small.data["MCS"].of_split("train"), task_of(config), Round(number, 2, 0, "MCS"))
    federated = model_of(tmp_path / "run", config, 2)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(federated[name], value, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("row", ROWS)
def test_the_order_of_the_sites_changes_nothing(small, tmp_path, row):
    orders = (["MCS", "TUH", "RAW"], ["RAW", "MCS", "TUH"])
    models = []
    for number, order in enumerate(orders):
        config = small.config(row, sites=order)
        small.run(tmp_path / str(number), config)
        models.append(model_of(tmp_path / str(number), config, 2))
    for name, value in models[0].items():
        torch.testing.assert_close(models[1][name], value, rtol=1e-3, atol=1e-4)
