"""Every shipped row in whole federations: killed and resumed, one site alone, sites in another order."""

import pytest
import torch

from client.tasks.classifier import validate
from client.training import Round, train
from common.configuration import names, task_of, to_yaml
from common.packing import from_bytes
from common.parameters import local_names
from common.protocol import EvaluateTask
from server.checkpoint import load, path_of
from server.rounds import evaluate
from simulations.local_grid import LocalGrid
from tests.small_sites import SmallFederation

ROWS = [row for row in names("method") if row != "dp-fedavg"]
"""All but the one whose noise is new each time (tests/server/aggregation/test_central.py)."""
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


@pytest.mark.parametrize("row", ["scaffold", "fedbn", "feddg-ga", "afl", "fedomg", "fedyogi"])
def test_the_order_of_the_sites_changes_nothing(small, tmp_path, row):
    orders = (["MCS", "TUH", "RAW"], ["RAW", "MCS", "TUH"])
    models = []
    for number, order in enumerate(orders):
        config = small.config(row, sites=order)
        small.run(tmp_path / str(number), config)
        models.append(model_of(tmp_path / str(number), config, 2))
    for name, value in models[0].items():
        torch.testing.assert_close(models[1][name], value, rtol=1e-3, atol=1e-4)


def test_the_servers_control_variate_is_the_mean_of_the_sites(small, tmp_path):
    """By patients: all take part in both rounds. The sites' own go on from round to round."""
    config = small.config("scaffold")
    records = small.run(tmp_path, config)
    variate = load(path_of(tmp_path, 2), config).variate
    kept = {site: from_bytes(states(tmp_path)[site, "round-0002.safetensors"])[0] for site in ("MCS", "TUH")}
    weights = {site: found.weight for site, found in records[-1].train.items()}
    assert sum(float(value.norm()) for value in variate.values()) > 0
    for name, value in variate.items():
        mean = sum(weights[site] * kept[site][f"variate/{name}"] for site in kept)
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-5)


def test_own_layers_differ_from_site_to_site_and_the_server_holds_their_mean(small, tmp_path):
    config = small.config("fedbn")
    records = small.run(tmp_path, config)
    own = {site: from_bytes(states(tmp_path)[site, "round-0002.safetensors"])[0] for site in ("MCS", "TUH")}
    model, local = model_of(tmp_path, config, 2), local_names(small.model(config), "norm_local")
    assert all({f"own/{name}" for name in local} == set(kept) for kept in own.values())
    for name in local:
        if not model[name].is_floating_point():
            continue
        parts = [own[site][f"own/{name}"] for site in ("MCS", "TUH")]
        assert not torch.equal(*parts), name
        weights = [records[-1].train[site].weight for site in ("MCS", "TUH")]
        mean = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        torch.testing.assert_close(model[name], mean, rtol=1e-5, atol=1e-5)


def loss_at(small, folder, config, site, records):
    """Validation loss that a site reports for the model of round 2."""
    task = EvaluateTask(to_yaml(task_of(config)), 2, 0, "validation")
    reports, bad = evaluate(small.federation(folder, config), model_of(folder, config, 2), [site], task, records)
    assert not bad
    return reports[site].loss


def test_a_site_measures_with_its_own_layers_and_a_newcomer_with_the_mean(small, tmp_path):
    config = small.config("fedbn")
    records = small.run(tmp_path, config)
    model = small.model(config)
    model.load_state_dict(model_of(tmp_path, config, 2))
    common = validation_loss(small, config, model, "TUH")
    own = from_bytes(states(tmp_path)["TUH", "round-0002.safetensors"])[0]
    model.load_state_dict({name.removeprefix("own/"): value for name, value in own.items()}, strict=False)
    personal = validation_loss(small, config, model, "TUH")
    assert personal != pytest.approx(common, abs=1e-4)
    assert loss_at(small, tmp_path, config, "TUH", records) == pytest.approx(personal, abs=1e-6)
    model.load_state_dict(model_of(tmp_path, config, 2))
    expected = validation_loss(small, config, model, "RAW")
    assert loss_at(small, tmp_path, config, "RAW", records) == pytest.approx(expected, abs=1e-6)


def validation_loss(small, config, model, site):
    return validate(model, small.data[site].of_split("validation"), task_of(config), site).loss


def test_a_site_whose_state_is_gone_takes_no_part_and_says_so(small, tmp_path):
    config = small.config("fedbn", "federation.quorum=0.5")
    with pytest.raises(Killed):
        small.run(tmp_path, config, KilledInRoundTwo)
    for file in (tmp_path / "sites" / "TUH" / "methods").glob("*/round-0001.safetensors"):
        file.unlink()
    records = small.run(tmp_path, config)
    assert {item.site for item in records[-1].quarantined if "SiteStateError" in item.meaning} == {"TUH"}
    assert list(records[-1].train) == ["MCS"]


class LosesTheReplyOfRoundOne(LocalGrid):
    """The second site trains in round 1, but its reply never arrives."""

    trained = 0

    def _work(self, message):
        reply = super()._work(message)
        if message.metadata.message_type == "train":
            self.trained += 1
            if self.trained == 2:
                reply.content["message"]["body"] = "lost"
        return reply


def test_a_round_that_was_not_accepted_is_forgotten_at_the_site(small, tmp_path):
    """TUH's variate of round 2 goes on from nothing, as the server's books say, not from its lost round 1."""
    config = small.config("scaffold", "federation.quorum=0.5")
    records = small.run(tmp_path, config, LosesTheReplyOfRoundOne)
    assert list(records[0].train) == ["MCS"] and list(records[1].train) == ["MCS", "TUH"]
    first, second = (load(path_of(tmp_path, number), config) for number in (1, 2))
    kept = from_bytes(states(tmp_path)["TUH", "round-0002.safetensors"])[0]
    mine = from_bytes(states(tmp_path)["MCS", "round-0002.safetensors"])[0]
    earlier = from_bytes(states(tmp_path)["MCS", "round-0001.safetensors"])[0]
    weights = {site: found.weight for site, found in records[1].train.items()}
    for name, value in second.variate.items():
        changes = weights["MCS"] * (mine[f"variate/{name}"] - earlier[f"variate/{name}"])
        changes = changes + weights["TUH"] * kept[f"variate/{name}"]
        torch.testing.assert_close(value, first.variate[name] + changes, rtol=1e-4, atol=1e-5)


def test_ditto_tells_how_the_personal_model_does(small, tmp_path):
    records = small.run(tmp_path, small.config("ditto"))
    assert all(0 <= found.personal <= 1 for found in records[-1].validation.values())
