"""SCAFFOLD's arithmetic against the paper's algorithm 1 written out for numbers."""

import pytest
import torch

from common.control_variates import beside, change, moved, parted

CURVATURE, CENTRE, ETA, STEPS = {"A": 1.0, "B": 10.0}, {"A": 0.0, "B": 1.0}, 0.05, 3


def paper(rounds, taking_part):
    """x and c of the paper's algorithm 1, option II, on F_k = a_k/2 (x - m_k)^2, one number each."""
    x, c, own = 4.0, 0.0, dict.fromkeys(CURVATURE, 0.0)
    for number in range(rounds):
        sites = taking_part(number)
        moves, changes = [], []
        for site in sites:
            y = x
            for _ in range(STEPS):
                y -= ETA * (CURVATURE[site] * (y - CENTRE[site]) - own[site] + c)
            after = own[site] - c + (x - y) / (STEPS * ETA)
            moves.append(y - x)
            changes.append(after - own[site])
            own[site] = after
        x += sum(moves) / len(sites)
        c += sum(changes) / len(CURVATURE)
    return x, c


def ours(rounds, taking_part):
    x, c = torch.tensor([4.0], dtype=torch.float64), {"w": torch.zeros(1, dtype=torch.float64)}
    own = {site: {"w": torch.zeros(1, dtype=torch.float64)} for site in CURVATURE}
    for number in range(rounds):
        sites, updates, changes = taking_part(number), [], []
        for site in sites:
            y = x.clone()
            for _ in range(STEPS):
                y -= ETA * (CURVATURE[site] * (y - CENTRE[site]) + c["w"] - own[site]["w"])
            updates.append(y - x)
            changes.append(change({"w": y - x}, c, STEPS, {"w": ETA})["w"])
            own[site]["w"] = own[site]["w"] + changes[-1]
        x = x + sum(updates) / len(sites)
        c = moved(c, {"w": sum(changes) / len(sites)}, len(sites) / len(CURVATURE))
    return x.item(), c["w"].item()


@pytest.mark.parametrize("taking_part", [lambda number: ["A", "B"], lambda number: ["A", "B"][number % 2 :]])
def test_rounds_are_those_of_the_paper(taking_part):
    assert ours(7, taking_part) == pytest.approx(paper(7, taking_part), rel=1e-5)


def test_it_reaches_the_common_optimum_that_averaging_misses():
    """The optimum of the mean loss is 10/11; FedAvg with three local steps stops elsewhere."""
    x = 4.0
    for _ in range(400):
        ends = []
        for site, curvature in CURVATURE.items():
            y = x
            for _ in range(STEPS):
                y -= ETA * curvature * (y - CENTRE[site])
            ends.append(y)
        x = sum(ends) / 2
    assert abs(x - 10 / 11) > 0.02
    assert ours(400, lambda number: ["A", "B"])[0] == pytest.approx(10 / 11, abs=1e-4)


def test_one_site_alone_is_never_corrected():
    """Its variate is everybody's."""
    c = {"w": torch.tensor([0.0])}
    own = torch.tensor([0.0])
    for update in (0.3, -0.2, 0.5):
        moves = change({"w": torch.tensor([update])}, c, 4, {"w": 0.1})
        own, c = own + moves["w"], moved(c, moves, 1.0)
        assert torch.equal(own, c["w"])
        assert own.item() == pytest.approx(-update / 0.4)


def test_each_parameter_by_its_own_rate():
    update = {"backbone.w": torch.tensor([1.0]), "head.w": torch.tensor([1.0]), "statistics": torch.tensor([1.0])}
    zero = {name: torch.zeros(1) for name in update}
    moves = change(update, zero, 2, {"backbone.w": 0.1, "head.w": 1.0})
    assert {name: value.item() for name, value in moves.items()} == pytest.approx({"backbone.w": -5.0, "head.w": -0.5})


def test_without_a_step_there_is_no_variate():
    with pytest.raises(ValueError, match="at least one step"):
        change({"w": torch.ones(1)}, {"w": torch.zeros(1)}, 0, {"w": 0.1})


def test_what_travels_together_is_told_apart():
    model, variate = {"a.weight": torch.ones(2), "b": torch.tensor(3)}, {"a.weight": torch.zeros(2)}
    parts = parted(beside(model, variate))
    assert [set(part) for part in parts] == [{"a.weight", "b"}, {"a.weight"}]
    assert torch.equal(parts[0]["a.weight"], torch.ones(2)) and torch.equal(parts[1]["a.weight"], torch.zeros(2))
