"""Names of ways on the axes of a comparison's figures."""

from __future__ import annotations

import pytest

from simulations.comparison.drawings import LONGEST, broken


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("fedavg", ["fedavg"]),
        ("scaffold:training.learning_rate=0.03", ["scaffold:training.learning_rate=0.03"]),
        ("combined:imaging.harmonisation=none, personal", ["combined:imaging.harmonisation=none,", "personal"]),
        (
            "combined:imaging.harmonisation=local_contrast:method.weight_step=0.1",
            ["combined:", "imaging.harmonisation=local_contrast:", "method.weight_step=0.1"],
        ),
    ],
)
def test_long_names_are_broken_and_nothing_of_them_is_lost(way: str, shown: list[str]) -> None:
    lines = broken(way).split("\n")

    assert lines == shown
    assert all(len(line) <= LONGEST + 1 for line in lines)
    assert "".join(lines).replace(" ", "") == way.replace(" ", "")
