"""Figures over few breasts stay, and the others are as fine as the site wants; read from what the executor says."""

from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from client.site import Site, node_configuration, site_of
from client.withholding import Withholding, loss_rounded, withheld
from common.metrics.froc import GRID
from common.protocol import (
    CalibrationBin,
    Estimate,
    EvaluationReport,
    ExplanationQuality,
    ExplanationScore,
    FrocReport,
    PersonalFigures,
    PrivacySpent,
    TrainReport,
)
from common.wire import encode
from server.admission import evaluated

CURVE = [Estimate(0.12345, 0.1, 0.2)] * len(GRID)
FROC = FrocReport(40, 12, 9, list(GRID), CURVE, CURVE, Estimate(0.12345), Estimate(0.5))
SCORE = ExplanationScore(Estimate(0.12345), Estimate(0.5), 8, 0.012345)
QUALITY = ExplanationQuality(6, *[Estimate(0.5)] * 6)
REPORT = EvaluationReport(
    30, 60, 120, 10, 0.45678, Estimate(0.87654, 0.8, 0.9), Estimate(0.7), Estimate(0.2), 0.05,
    [0.9, 0.98], [0.71234, 0.5], [CalibrationBin(0.1, 0.1, 7), CalibrationBin(0.9, 0.8, 20)],
    {"hirescam": SCORE, "shap": replace(SCORE, views=12)}, FROC, 1.23456, 3,
)  # fmt: skip


def test_without_rules_a_report_is_as_it_was():
    assert withheld(REPORT, Withholding()) is REPORT


def test_bins_scores_and_curves_over_few_are_left_out():
    told = withheld(REPORT, Withholding(minimum_cell=10))
    assert [item.count for item in told.calibration] == [20]
    assert set(told.explanations) == {"shap"}
    assert told.froc is None, "nine breasts with a lesion"
    assert told.auc == REPORT.auc, "ten malignant breasts are enough"
    assert (told.patients, told.breasts, told.malignant) == (30, 60, 10)


def test_what_is_measured_on_some_of_the_views_is_judged_by_these():
    report = replace(REPORT, explanations={"shap": replace(SCORE, views=12, quality=QUALITY)})
    for cell, there in ((6, QUALITY), (7, None)):
        assert withheld(report, Withholding(minimum_cell=cell)).explanations["shap"].quality == there


@pytest.mark.parametrize("malignant", [9, 51])
def test_with_too_few_breasts_of_either_kind_nothing_is_told_of_how_they_were_judged(malignant):
    told = withheld(replace(REPORT, malignant=malignant), Withholding(minimum_cell=10))
    assert (told.auc, told.sensitivity, told.brier) == (Estimate(None),) * 3
    assert told.loss is None and told.calibration_error is None
    assert told.roc_sensitivity == [] and told.calibration == []


def test_every_figure_is_rounded_and_no_grid():
    told = withheld(REPORT, Withholding(decimals=1))
    assert told.auc == Estimate(0.9, 0.8, 0.9)
    assert told.loss == 0.5 and told.roc_sensitivity == [0.7, 0.5]
    assert told.explanations["hirescam"] == ExplanationScore(Estimate(0.1), Estimate(0.5), 8, 0.0)
    assert told.froc is not None and told.froc.per_lesion[0] == Estimate(0.1, 0.1, 0.2)
    assert told.froc.false_positives == list(GRID) and told.roc_specificity == [0.9, 0.98]
    assert evaluated(encode(told), 3) == told, "the coordinator takes it"


def test_the_loss_of_training_is_rounded_and_what_is_promised_is_not():
    spent = PrivacySpent(1.23456, 0.0012345, "patient")
    report = TrainReport(9, 9, 3, 1, 0.45678, 1.23456, 1, privacy=spent)
    assert loss_rounded(report, Withholding(decimals=2)) == replace(report, loss=0.46)
    assert loss_rounded(report, Withholding()) is report


@pytest.mark.parametrize("rules", [Withholding(), Withholding(10), Withholding(None, 2), Withholding(7, 0)])
def test_the_rules_reach_the_app_with_the_other_settings_of_the_node(rules):
    site = Site("TUH", Path("data"), Path("state"), 7.5, rules)
    found = site_of(Context(1, 1, dict(node_configuration(site)), RecordDict(), {}))
    assert found == site and found.withholding == rules


def test_a_personal_models_figures_follow_the_common_ones():
    report = replace(REPORT, personal=PersonalFigures(Estimate(0.87654), 0.45678, Estimate(0.5)))
    assert withheld(report, Withholding(minimum_cell=11)).personal is None  # ten malignant breasts
    few_lesions = withheld(report, Withholding(minimum_cell=10)).personal
    assert few_lesions == PersonalFigures(Estimate(0.87654), 0.45678, Estimate(None))
    assert withheld(report, Withholding(decimals=2)).personal == PersonalFigures(Estimate(0.88), 0.46, Estimate(0.5))


def test_the_loss_of_a_sites_own_model_is_rounded_too():
    report = TrainReport(30, 60, 10, 4, 0.45678, 1.0, own_loss=0.56789)
    assert loss_rounded(report, Withholding(decimals=2)).own_loss == 0.57
