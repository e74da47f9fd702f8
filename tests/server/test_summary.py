"""What summary.json says of privacy."""

from common.configuration import RunConfig, load_run
from common.protocol import PrivacySpent
from server.aggregation.central import epsilon_of_rounds
from server.history import RoundRecord, SiteTraining, from_json, to_json
from server.summary import summarise


def round_of(number, **spent):
    train = {
        name: SiteTraining(9, 9, 3, 1, 0.5, 1.0, 1.0, 0.5, PrivacySpent(epsilon, 0.01, "patient") if epsilon else None)
        for name, epsilon in spent.items()
    }
    return RoundRecord(number, train=train)


def test_each_site_counts_with_all_it_has_spent_whichever_round_is_published():
    records = [round_of(1, MCS=1.0, TUH=2.0), round_of(2, MCS=1.5), round_of(3, RAW=None)]
    records = [from_json(to_json(record), "rounds.jsonl") for record in records]
    privacy = summarise(RunConfig(), records, {"round": 1, "sites": {}, "unseen": {}}, None)["privacy"]
    assert privacy == {
        "MCS": {"epsilon": 1.5, "delta": 0.01, "unit": "patient"},
        "TUH": {"epsilon": 2.0, "delta": 0.01, "unit": "patient"},
    }


def test_noise_at_the_server_is_told_for_all_rounds_and_only_where_there_is_some():
    nothing = {"round": 1, "sites": {}, "unseen": {}}
    assert summarise(RunConfig(), [], nothing, None)["central_privacy"] is None
    told = summarise(load_run("tiny", ["method=dp-fedavg"]), [round_of(1), round_of(2)], nothing, None)
    assert told["central_privacy"] == {"epsilon": epsilon_of_rounds(1.0, 2), "delta": 1e-5, "unit": "site"}
