"""Before round 1 the sites agree on a scale: the mean of their parts, kept with the run's settings."""

import json
from dataclasses import replace

import numpy as np
import pytest

from client.appearance import scale_of
from client.site import Site, load_site
from common.configuration import load_task, read_run, to_yaml
from common.data.scale import as_stored
from common.errors import ConfigurationError, QuorumError
from common.protocol import Refusal, ScaleReport
from common.wire import encode
from server.admission import ImpossibleFiguresError, SiteRefusedError
from server.harmonisation import mean_scale, scale_told, with_scale
from simulations.local_grid import LocalGrid
from tests.small_sites import SmallFederation

GOOD = list(np.linspace(-2, 2, 9))


@pytest.fixture
def small(tmp_path, monkeypatch):
    return SmallFederation(tmp_path, monkeypatch)


@pytest.fixture
def begun(small, tmp_path):
    def begin(*overrides, sites=("MCS", "TUH"), grid=LocalGrid):
        config = small.config("fedavg", "imaging.harmonisation=landmarks", *overrides, sites=sites)
        (tmp_path / "config.yaml").write_text(to_yaml(config))
        return small.federation(tmp_path, config, grid)

    return begin


def test_the_scale_is_the_mean_over_training_sites_and_stands_in_the_settings(small, begun, tmp_path):
    federation = with_scale(begun())
    parts = [scale_of(small.data[name].of_split("train"), "landmarks", 5).values for name in ("MCS", "TUH")]
    scale = federation.config.imaging.standard_scale
    np.testing.assert_allclose(scale, (np.array(parts[0]) + parts[1]) / 2)
    assert read_run(tmp_path / "config.yaml") == federation.config
    note = json.loads((tmp_path / "harmonisation.json").read_text())
    assert note["standard_scale"] == scale and note["sites"]["MCS"] == {"patients": 8, "images": 8}


def test_order_of_sites_changes_no_bit_and_a_settled_scale_is_not_asked_again(begun, tmp_path):
    first = with_scale(begun(sites=("MCS", "TUH", "RAW"))).config.imaging.standard_scale
    assert with_scale(begun(sites=("RAW", "TUH", "MCS"))).config.imaging.standard_scale == first

    class Silent(LocalGrid):
        def push_messages(self, messages):
            raise AssertionError("nobody is to be asked")

    settled = begun(f"imaging.standard_scale={first}", grid=Silent)
    (tmp_path / "harmonisation.json").unlink()
    assert with_scale(settled) is settled and not (tmp_path / "harmonisation.json").exists()
    plain = replace(settled, config=as_stored(settled.config))
    assert with_scale(plain) is plain


def test_a_run_without_a_quorum_of_parts_does_not_begin(small, begun):
    small.data["TUH"] = small.data["TUH"].only([0, 1, 8, 9, 12, 13])  # two training patients: it tells nothing
    with pytest.raises(QuorumError, match="1 of 2 sites") as caught:
        with_scale(begun("federation.quorum=1"))
    assert "TUH" in str(caught.value)
    assert with_scale(begun("federation.quorum=0.5")).config.imaging.standard_scale


def test_below_the_minimum_cell_a_site_tells_nothing(small):
    data = small.data["MCS"].of_split("train")
    assert scale_of(data, "landmarks", 9) == ScaleReport(0, 0, [])
    assert scale_of(data, "landmarks", 8).patients == 8
    assert len(scale_of(data, "amplitude", 8).values) == 31


def test_mean_scale_gives_sites_the_same_weight():
    assert mean_scale({"A": [0.0, 1.0], "B": [1.0, 5.0]}) == [0.5, 3.0]


@pytest.mark.parametrize(
    "values",
    [GOOD[:-1], GOOD[::-1], [*GOOD[:-1], float("inf")], [*GOOD[:-1], 1e6], [*GOOD[:-1], float("nan")]],
)
def test_a_part_that_cannot_be_true_is_refused(values):
    with pytest.raises(ImpossibleFiguresError):
        scale_told(encode(ScaleReport(20, 40, values)), "landmarks")


def test_a_part_of_another_method_of_nobody_or_a_refusal_is_refused():
    assert scale_told(encode(ScaleReport(20, 40, GOOD)), "landmarks").values == GOOD
    assert scale_told(encode(ScaleReport(0, 0, [])), "landmarks").values == []
    for report in (ScaleReport(20, 40, [0.1] * 31), ScaleReport(0, 0, GOOD), ScaleReport(20, 10, GOOD)):
        with pytest.raises(ImpossibleFiguresError):
            scale_told(encode(report), "landmarks")
    with pytest.raises(SiteRefusedError):
        scale_told(encode(Refusal("EmptySiteError", "No patients.")), "landmarks")


def test_training_before_the_scale_is_known_is_refused(tmp_path):
    task = load_task("tiny", ["imaging.harmonisation=amplitude"])
    with pytest.raises(ConfigurationError, match="scale"):
        load_site(Site("TUH", tmp_path, tmp_path / "state"), task)
