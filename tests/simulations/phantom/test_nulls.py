"""The leak tests (PHANTOM §7) at a size for every day; `python -m simulations.phantom.nulls` runs them in full."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.nulls import (
    auc_with_interval,
    background_shift,
    brightest_in_box,
    cross_validated_auc,
    measure_site,
    summarise,
)
from simulations.phantom.patient import VIEWS, Patient, draw_patient
from simulations.phantom.render import render_view
from simulations.phantom.sites import SITES, acquisition_at


def with_lesion(name: str, number: int) -> list[Patient]:
    """The first patients of a site who have a mass."""
    drawn = (draw_patient(SITES[name], i, 0, DEFAULT) for i in range(20 * number))
    return [p for p in drawn if p.mass is not None][:number]


@pytest.mark.parametrize("name", SITES)
def test_exposure_and_window_do_not_see_the_lesion(name: str) -> None:
    shifts = [shift for patient in with_lesion(name, 3) for shift in background_shift(patient, rows=256)]
    assert max(shifts) < 1e-3


def test_the_lesion_itself_changes_the_picture() -> None:
    patient = next(p for p in with_lesion("MCS", 10) if p.mass is not None and p.mass.visibility == 1.0)
    acquisition = acquisition_at(patient.site, 1.0)
    there = render_view(patient, "CC", acquisition, rows=256)
    erased = render_view(patient, "CC", acquisition, rows=256, erase_lesion=True)
    change = there.stored.astype(float) - erased.stored.astype(float)
    assert change[there.core].mean() > 0.02 * 4095
    assert there.box == erased.box


@pytest.mark.parametrize("name", SITES)
def test_the_brightest_spot_is_seldom_the_lesion(name: str) -> None:
    acquisition = acquisition_at(SITES[name], 1.0)
    pictures = [render_view(p, view, acquisition, rows=256) for p in with_lesion(name, 20) for view in VIEWS]
    assert np.mean([brightest_in_box(picture) for picture in pictures]) <= 0.30


@pytest.mark.slow
def test_histograms_tell_little_and_erased_breasts_nothing() -> None:
    erased, histogram, bright = summarise(measure_site(SITES["MCS"], 300))
    assert erased.low <= 0.5 <= erased.high
    assert histogram.value <= 0.65
    assert bright <= 0.30


def test_the_null_classifier_finds_a_leak_when_there_is_one() -> None:
    rng = np.random.default_rng(0)
    malignant = rng.random(200) < 0.4
    features = rng.standard_normal((200, 24)).astype(np.float32)
    features[:, 3] += 2 * malignant
    assert cross_validated_auc(features, malignant).low > 0.8


def test_interval_agrees_with_hanley_and_mcneil() -> None:
    """Their worked example: AUC 0.893 of 51 diseased and 58 not has standard error 0.032 (Radiology 1982;143:29)."""
    positive = np.array([True] * 51 + [False] * 58)
    wins = round(0.893 * 58)
    score = np.concatenate([np.full(51, wins - 0.5), np.arange(58, dtype=float)])
    result = auc_with_interval(score, positive)
    assert (result.high - result.low) / 2 / 1.96 == pytest.approx(0.032, abs=0.002)
