"""What the coordinator's ServerApp lets a site answer with: as much as an update of the run's own network takes."""

import pytest

from common.configuration import load_run
from common.models.network import build_network
from common.packing import pack
from common.parameters import shared
from server.federation.serverapp import largest_reply


@pytest.mark.parametrize("scenario", ["tiny", "demo", "detector-demo"])
def test_an_update_of_every_task_fits_and_not_much_more(scenario):
    config = load_run(scenario)
    update = pack(shared(build_network(config, 0).state_dict())).nbytes
    assert update <= largest_reply(config) < 1.1 * update
