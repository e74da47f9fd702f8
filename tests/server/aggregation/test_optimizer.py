"""The server's step against torch.optim.SGD and by hand."""

import pytest
import torch

from server.aggregation.optimizer import OptimizerState, step


def run(rule, updates, learning_rate=1.0, momentum=0.9, trained=frozenset({"w"})):
    model, state = {"w": torch.tensor([1.0, -1.0]), "running_mean": torch.tensor([5.0]), "count": torch.tensor(7)}, None
    state = OptimizerState()
    for update in updates:
        model, state = step(
            model, update, state, rule=rule, learning_rate=learning_rate, momentum=momentum, trained=trained
        )
    return model


UPDATES = [
    {"w": torch.tensor([0.5, 0.25]), "running_mean": torch.tensor([1.0])},
    {"w": torch.tensor([-1.0, 2.0]), "running_mean": torch.tensor([-3.0])},
    {"w": torch.tensor([0.125, 1.0]), "running_mean": torch.tensor([0.5])},
]


def test_average_with_rate_one_is_fedavg():
    assert run("average", UPDATES[:1])["w"].tolist() == [1.5, -0.75]


@pytest.mark.parametrize("learning_rate", [1.0, 0.3])
def test_momentum_is_torch_sgd_on_the_negative_update(learning_rate):
    parameter = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    oracle = torch.optim.SGD([parameter], lr=learning_rate, momentum=0.9)
    for update in UPDATES:
        parameter.grad = -update["w"]
        oracle.step()
    torch.testing.assert_close(run("momentum", UPDATES, learning_rate)["w"], parameter.detach())


def test_statistics_are_averaged_plainly_and_counters_left_alone():
    model = run("momentum", UPDATES, learning_rate=0.1)
    assert model["running_mean"].item() == pytest.approx(5.0 + 1.0 - 3.0 + 0.5)
    assert model["count"].item() == 7
    assert model["count"].dtype == torch.int64


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="adamw"):
        run("adamw", UPDATES)
