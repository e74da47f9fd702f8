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


def adaptive(rule, updates, learning_rate=0.1):
    """Model and state after the updates, with beta1 .9, beta2 .99 and tau .01."""
    model, state = {"w": torch.tensor([1.0, -1.0]), "running_mean": torch.tensor([5.0])}, OptimizerState()
    for update in updates:
        model, state = step(
            model, update, state, rule=rule, learning_rate=learning_rate, momentum=0.9, trained=frozenset({"w"}),
            beta2=0.99, tau=0.01,
        )  # fmt: skip
    return model, state


def test_adam_is_torch_adam_without_its_corrections():
    """torch divides m by 1 - b1^t and v by 1 - b2^t: undone through its rate and epsilon; its v begins at tau^2."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    oracle = torch.optim.Adam([parameter], betas=(0.9, 0.99))
    for number, update in enumerate(UPDATES, 1):
        root = (1 - 0.99**number) ** 0.5
        oracle.param_groups[0]["lr"] = 0.1 * (1 - 0.9**number) / root
        oracle.param_groups[0]["eps"] = 0.01 / root
        parameter.grad = -update["w"]
        if number == 1:
            empty = {"step": torch.tensor(0.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.full((2,), 0.01**2)}
            oracle.state[parameter] = empty
        oracle.step()
        # torch scales lr by sqrt(1 - b2^t) / (1 - b1^t)
    # its denominator is sqrt(v) / root + eps = (sqrt(v) + tau) / root, its numerator lr / (1 - b1^t) m
    expected = torch.tensor([1.0, -1.0])
    first, second = torch.zeros(2), torch.full((2,), 0.01**2)
    for update in UPDATES:
        first = 0.9 * first + 0.1 * update["w"]
        second = 0.99 * second + 0.01 * update["w"] ** 2
        expected = expected + 0.1 * first / (second.sqrt() + 0.01)
    torch.testing.assert_close(adaptive("adam", UPDATES)[0]["w"], expected)
    torch.testing.assert_close(parameter.detach(), expected)


def test_yogi_by_hand():
    """One number: update 1 from v = .0001: v grows by .01 * 1; then update 0: v does not shrink by a share but by 0."""
    updates = [{"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([0.0, 0.05])}]
    model, state = adaptive("yogi", updates)
    second = [0.0001 + 0.01, 0.0001 + 0.01 - 0.01 * 0.0025]
    torch.testing.assert_close(state.square["w"], torch.tensor(second))
    first = [0.1 / (0.0101**0.5 + 0.01), 0.1 / (0.0101**0.5 + 0.01)]
    then = [0.09 / (second[0] ** 0.5 + 0.01), 0.095 / (second[1] ** 0.5 + 0.01)]
    expected = [1.0 + 0.1 * (first[0] + then[0]), -1.0 + 0.1 * (first[1] + then[1])]
    torch.testing.assert_close(model["w"], torch.tensor(expected))


@pytest.mark.parametrize("rule", ["adam", "yogi"])
def test_adaptive_steps_average_statistics_plainly_and_keep_no_state_of_them(rule):
    model, state = adaptive(rule, UPDATES)
    assert model["running_mean"].item() == pytest.approx(5.0 + 1.0 - 3.0 + 0.5)
    assert set(state.velocity) == set(state.square) == {"w"}


@pytest.mark.parametrize("rule", ["adam", "yogi"])
def test_without_memory_an_update_far_above_tau_moves_by_the_rate_alone(rule):
    model, _ = step(
        {"w": torch.zeros(2)}, {"w": torch.tensor([40.0, -7.0])}, OptimizerState(), rule=rule, learning_rate=0.5,
        momentum=0.0, trained=frozenset({"w"}), beta2=0.0, tau=1e-8,
    )  # fmt: skip
    torch.testing.assert_close(model["w"], torch.tensor([0.5, -0.5]))
