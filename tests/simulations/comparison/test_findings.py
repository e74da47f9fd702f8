"""Figures of a comparison against brute force, costs by hand, and the page that shows them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from common.metrics.classification import auc
from common.metrics.paired import Answers, holm, resampled, two_sided_p
from common.metrics.paired_froc import Found
from server.history import RoundRecord, SiteTraining, SiteValidation
from simulations.comparison.findings import (
    FORMAT,
    Columns,
    Comparison,
    Outcomes,
    Reached,
    comparable,
    cost_of,
    counts_of,
    differences_from,
    enough_samples,
    reached,
    told,
    validation_auc,
    way_of,
)
from simulations.comparison.page import headline, render

TRAIN, UNSEEN = ("MCS", "TUH", "CR"), ("UNSEEN",)
COLUMNS = Columns((*TRAIN, *UNSEEN), TRAIN, UNSEEN)
STRENGTH = {"fedavg": 1.0, "fedbn": 1.05, "ours": 2.4, "local": 0.8, "pooled": 1.3, "oracle": 1.4}
SEEDS = (0, 1, 2)
SAMPLES = enough_samples(10, len(STRENGTH), 0.95)


def study(random, breasts=80):
    """Answers of each way, in each seed, at each site; some patients are hard for every model."""
    targets = np.arange(breasts) % 2
    hard = {site: random.normal(size=breasts) for site in COLUMNS.sites}
    names = {site: np.array([f"{site}-{number}" for number in range(breasts)]) for site in COLUMNS.sites}

    def at(way, site):
        strength = STRENGTH[way] * (0.6 if site == "CR" else 1.0)
        return Answers(names[site], targets, hard[site] + 0.4 * random.normal(size=breasts) + strength * targets)

    of = {"local": TRAIN, "oracle": UNSEEN}
    return {way: [{site: at(way, site) for site in of.get(way, COLUMNS.sites)} for _ in SEEDS] for way in STRENGTH}


@pytest.fixture(scope="module")
def ways():
    return study(np.random.default_rng(0))


@pytest.fixture(scope="module")
def tested(ways):
    left = {way: [{site: one[site] for site in TRAIN} for one in ways[way]] for way in ("fedavg", "ours")}
    return Outcomes(COLUMNS, resampled(ways, COLUMNS.sites, SAMPLES, 0), resampled(left, COLUMNS.sites, SAMPLES, 0))


def record(number, *aucs):
    training = SiteTraining(10, 10, 5, 3, 0.5, 1.0, 1.0, 0.5)
    validation = {f"S{place}": SiteValidation(value, 0.5, 4, 2) for place, value in enumerate(aucs)}
    return RoundRecord(number, 2.5, 100, 50, {"S0": training, "S1": training}, validation=validation)


RECORDS = [record(1, 0.5, 0.7), record(2, 0.7, None), record(3, 0.9, 0.6), record(4, 0.9, 0.8)]


@pytest.fixture(scope="module")
def found(tested, ways):
    runs = [cost_of(seed, 1, f"runs/fedavg/seed-{seed}", RECORDS, 0.72) for seed in SEEDS]
    kinds = {way: "baseline" if way in ("local", "pooled", "oracle") else "method" for way in ways}
    return Comparison(
        FORMAT, "shift", "a study", True, list(SEEDS), False, 1, "fedavg", 0.95, SAMPLES, 4, 1, 0.72, "fedavg",
        {site: counts_of("train" if site in TRAIN else "unseen", ways["fedavg"][0][site]) for site in COLUMNS.sites},
        {way: way_of(way, kind, tested, 0.95, runs if kind == "method" else []) for way, kind in kinds.items()},
        differences_from("fedavg", tested, 0.95),
    )  # fmt: skip


def test_mean_worst_unseen_and_spread_are_of_the_sites_means_over_seeds(ways, found):
    table = {
        site: np.mean([auc(one[site].targets, one[site].scores) for one in ways["ours"]]) for site in COLUMNS.sites
    }
    way, trained = found.ways["ours"], [table[site] for site in TRAIN]
    assert way.mean.value == pytest.approx(np.mean(trained))
    assert way.worst.value == pytest.approx(min(trained)) == pytest.approx(table["CR"])
    assert way.unseen.value == pytest.approx(table["UNSEEN"])
    assert way.spread.value == pytest.approx(max(trained) - min(trained))
    assert way.by_site["TUH"].low < way.by_site["TUH"].value < way.by_site["TUH"].high


def test_a_way_has_only_the_figures_that_it_can_have(found):
    assert found.ways["local"].unseen.value is None and set(found.ways["local"].by_site) == set(TRAIN)
    assert found.ways["oracle"].mean.value is None and found.ways["oracle"].unseen.value > 0.5
    assert found.ways["pooled"].left_out.value is None
    assert {one.measure for one in found.differences if one.way == "oracle"} == {"unseen"}
    assert {one.measure for one in found.differences if one.way == "pooled"} == {"mean", "worst", "unseen"}


def test_on_sites_left_out_a_sites_own_model_is_the_oracle(found):
    assert found.ways["local"].left_out == found.ways["local"].mean
    assert set(found.ways["ours"].left_out_by_site) == set(TRAIN)


def test_differences_are_paired_and_what_is_large_holds(found):
    by = {(one.way, one.measure): one for one in found.differences}
    ours, fedbn = by["ours", "mean"], by["fedbn", "mean"]
    assert ours.estimate.value == pytest.approx(found.ways["ours"].mean.value - found.ways["fedavg"].mean.value)
    assert ours.marked and ours.p_holm <= 0.05 and ours.estimate.low > 0
    assert not fedbn.marked and fedbn.p_holm >= fedbn.p
    unpaired = np.hypot(*(np.ptp([found.ways[way].mean.low, found.ways[way].mean.high]) for way in ("ours", "fedavg")))
    assert ours.estimate.high - ours.estimate.low < 0.8 * unpaired, "hard patients are hard for both"
    assert "fedavg" not in {one.way for one in found.differences}


def test_difference_from_the_sites_own_model_site_by_site(found):
    way, local = found.ways["ours"], found.ways["local"]
    assert way.against_local["CR"].value == pytest.approx(way.by_site["CR"].value - local.by_site["CR"].value)
    assert set(way.against_local) == set(TRAIN) and not local.against_local


def test_there_are_resamples_enough_for_a_difference_to_hold_after_the_correction():
    """Of m differences the clearest has p = 2 / (samples + 1), and Holm's correction takes it times m."""
    for ways in (2, 5, 30):
        assert holm([two_sided_p(np.ones(enough_samples(10, ways, 0.95)))] * 4 * (ways - 1))[0] <= 0.05
    assert enough_samples(5000, 3, 0.95) == 5000


def test_rounds_and_bytes_to_a_target():
    assert [validation_auc(one) for one in RECORDS] == pytest.approx([0.6, 0.7, 0.75, 0.85])
    assert reached(RECORDS, 0.72) == Reached(3, 450)
    assert reached(RECORDS, 0.99) is None and reached(RECORDS, None) is None
    cost = cost_of(5, 1, "runs/x", RECORDS, 0.6)
    assert (cost.rounds, cost.steps, cost.seconds, cost.bytes) == (4, 24, 10.0, 600)
    assert cost.reached == Reached(1, 150) and cost.validation_auc == pytest.approx(0.85)


def test_the_page_shows_every_figure_and_asks_nothing_from_outside(found):
    page = render(found)
    assert "<script" not in page and not re.search(r'(?:src|href)="https?:', page) and "@import" not in page
    for way in found.ways.values():
        if way.worst.value is not None:
            assert f"{way.worst.value:.3f}" in page
    assert page.count("<svg") == 2 and "Holm" in page
    assert 'href="runs/fedavg/seed-1/report.html"' in page
    assert render(found) == page


def test_the_headline_claims_what_holds_and_nothing_else(found):
    assert "ours +" in headline(found) and "fedbn" not in headline(found) and "pooled" not in headline(found)
    nothing = replace(found, differences=[replace(one, marked=False) for one in found.differences])
    assert "no method differs" in headline(nothing)


def test_beside_a_single_method_the_headline_tells_of_the_baselines(found):
    alone = replace(
        found,
        ways={name: way for name, way in found.ways.items() if name == "fedavg" or way.kind == "baseline"},
        differences=[replace(one, marked=one.way == "pooled") for one in found.differences if one.way == "pooled"],
    )
    assert "compared with fedavg: pooled +" in headline(alone)
    nothing = replace(alone, differences=[replace(one, marked=False) for one in alone.differences])
    assert "nothing differs from fedavg" in headline(nothing)


def test_the_page_of_names_that_look_like_markup_is_safe(found):
    ways = {("<b>x</b>" if way == "ours" else way): figures for way, figures in found.ways.items()}
    other = replace(found, ways=ways, description="<script>alert(1)</script>", differences=[])
    assert "<b>x" not in render(other) and "<script" not in render(other)


def test_what_is_written_is_json(found):
    written = json.loads(json.dumps(told(found)))
    assert written["format"] == FORMAT and written["ways"]["fedavg"]["runs"][0]["reached"] == {"round": 3, "bytes": 450}


def test_of_detectors_sensitivity_stands_under_its_own_name(found, ways):
    lesions, images = np.array([1.0, 0.0, 2.0]), np.array([2.0, 2.0, 1.0])
    one = Found(np.array(["a", "b", "c"]), images, lesions, np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    counts = counts_of("train", one)
    assert (counts.patients, counts.images, counts.lesions, counts.breasts) == (3, 5, 3, None)
    assert comparable(one) and not comparable(replace(one, lesions=np.zeros(3)))
    detectors = replace(found, figure="sensitivity", sites=dict.fromkeys(found.sites, counts))
    written = told(detectors)["ways"]["ours"]
    assert set(written["sensitivity"]) == set(COLUMNS.sites) and set(written["left_out_sensitivity"]) == set(TRAIN)
    assert not {"auc", "left_out_auc", "by_site"} & set(written)
    page = render(detectors)
    assert "<caption>Sensitivity with" in page and "3 lesions, 3 patients" in page
    assert "wrongly mark one place an image" in page and "AUC: how often" not in page
