"""What is published with a model."""

import math

import pytest

from server.history import RoundRecord, SiteTraining
from server.publish import prior_log_odds


def trained(breasts, malignant):
    return SiteTraining(breasts, breasts, malignant, 1, 0.5, 1.0, 1.0, 1.0)


def test_prior_log_odds_by_hand():
    """One in four malignant over both sites: log(1/3)."""
    record = RoundRecord(1, train={"A": trained(60, 20), "B": trained(40, 5)})
    assert prior_log_odds(record, True) == pytest.approx(math.log(1 / 3))
    assert prior_log_odds(record, False) == 0.0


@pytest.mark.parametrize("malignant", [0, 10])
def test_without_one_class_there_is_nothing_to_undo(malignant):
    assert prior_log_odds(RoundRecord(1, train={"A": trained(10, malignant)}), True) == 0.0
