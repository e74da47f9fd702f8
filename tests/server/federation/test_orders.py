"""What a coordinator types becomes the configuration it means."""

import pytest

from common.errors import ConfigurationError, EnrolmentError
from server.federation.orders import run_config

ADMITTED = ("MCS", "TUH", "RAW")


def test_short_words_and_names():
    config = run_config("real", ["rounds=20", "deadline=600", "sites=MCS,TUH", "quorum=2", "method=fedprox"], ADMITTED)
    assert (config.federation.rounds, config.federation.deadline_seconds) == (20, 600.0)
    assert (config.sites, config.unseen, config.baselines) == (["MCS", "TUH"], [], [])
    assert config.federation.quorum == 1.0
    assert config.method.local_objective == "proximal"


def test_without_sites_everybody_trains_who_is_not_unseen():
    assert run_config("real", ["unseen=RAW"], ADMITTED).sites == ["MCS", "TUH"]


@pytest.mark.parametrize(("text", "share"), [("1", 1 / 3), ("2", 2 / 3), ("3", 1.0), ("0.5", 0.5), ("0", 0.0)])
def test_quorum_is_a_number_of_sites_or_a_share(text, share):
    assert run_config("real", [f"quorum={text}"], ADMITTED).federation.quorum == pytest.approx(share)


@pytest.mark.parametrize("quorum", ["4", "1.5", "-1", "most", "nan"])
def test_a_quorum_that_cannot_be_is_refused(quorum):
    with pytest.raises(ConfigurationError, match="quorum"):
        run_config("real", [f"quorum={quorum}"], ADMITTED)


def test_sites_that_are_not_admitted_are_refused():
    for arguments, admitted in ((["sites=MCS,XXX"], ADMITTED), (["unseen=XXX"], ADMITTED), ([], ())):
        with pytest.raises(EnrolmentError):
            run_config("real", arguments, admitted)
    with pytest.raises(ConfigurationError, match="both trains and is unseen"):
        run_config("real", ["sites=MCS", "unseen=MCS"], ADMITTED)


def test_a_misspelt_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"federation\.rounds"):
        run_config("real", ["federation.round=3"], ADMITTED)
