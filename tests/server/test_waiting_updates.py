"""Updates on disk: inner products and sums tensor by tensor are those of the whole."""

import numpy as np
import pytest
import torch

from server.waiting_updates import WaitingUpdates

UPDATES = {
    site: {
        "w": torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)),
        "b": torch.randn(4, generator=torch.Generator().manual_seed(seed + 10)),
        "running_mean": torch.full((4,), 100.0 * seed),
        "scale": torch.tensor(float(seed)),
    }
    for seed, site in enumerate(("MCS", "TUH", "RAW"), 1)
}


@pytest.fixture
def waiting(tmp_path):
    found = WaitingUpdates(tmp_path / "updates")
    for site, update in UPDATES.items():
        found.add(site, update)
    return found


def flat(site, names=("b", "w")):
    return torch.cat([UPDATES[site][name].flatten() for name in names]).double().numpy()


def test_inner_products_are_those_of_the_whole_updates(waiting):
    sites = ["RAW", "MCS", "TUH"]
    rows = np.stack([flat(site) for site in sites])
    np.testing.assert_allclose(waiting.gram(sites, {"w", "b"}), rows @ rows.T, rtol=1e-12)


def test_scalars_count_too(waiting):
    np.testing.assert_allclose(waiting.gram(["MCS", "RAW"], {"scale"}), [[1.0, 3.0], [3.0, 9.0]])


def test_the_combined_update_is_the_sum_of_the_parts(waiting):
    found = waiting.combined(["TUH", "MCS"], {"w"}, np.array([0.25, -2.0]))
    torch.testing.assert_close(found["w"], 0.25 * UPDATES["TUH"]["w"] - 2.0 * UPDATES["MCS"]["w"])
    assert set(found) == {"w"} and found["w"].dtype == torch.float32


def test_what_an_attempt_that_was_killed_left_is_not_counted(waiting, tmp_path):
    WaitingUpdates(tmp_path / "updates")
    assert not (tmp_path / "updates").exists()
