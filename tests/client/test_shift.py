"""What a site tells of itself, against a plain computation; and what it keeps back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.shift import EMPTY, pooled_features, shift_of
from common.comparison import LEVELS
from common.configuration import ModelConfig, TaskConfig, task_of
from common.data.manifest import View
from common.models.classifier import build_classifier
from server.exchange import connected_sites
from server.shift.survey import survey
from simulations.local_grid import LocalGrid
from tests.small_sites import SmallFederation, small_site

TASK = TaskConfig(model=ModelConfig(backbone="resnet8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return small_site(tmp_path_factory.mktemp("site"), "TUH")


def with_breasts(data, **changes):
    return replace(data, breasts=tuple(replace(breast, **changes) for breast in data.breasts))


def test_quantiles_are_means_over_the_images_of_the_tissue_alone(site):
    told = shift_of(site, site, TASK, 5)
    pixels = [np.asarray(image.pixels, dtype=np.float64) for views in site.views for image in views]
    inside = [(image[image > -3] + 1) / 4 for image in pixels]
    np.testing.assert_allclose(
        told.stored, np.mean([np.quantile(values, LEVELS) for values in inside], axis=0), atol=1e-5
    )
    middle = LEVELS.index(0.5)
    assert told.standardised[middle] == pytest.approx(0, abs=1e-5)
    assert told.standardised[LEVELS.index(0.7)] - told.standardised[LEVELS.index(0.1)] == pytest.approx(2, abs=1e-4)
    np.testing.assert_allclose(np.array(told.stored) * 4 - 1, told.prepared, atol=1e-5)
    assert shift_of(site, None, TASK, 5).prepared == []


def test_counts_below_the_minimum_cell_stay_at_the_site(site):
    assert shift_of(site, site, TASK, 17) == EMPTY
    told = shift_of(site, site, TASK, 7)
    assert told.malignant is None, "six breasts are malignant"
    assert shift_of(site, site, TASK, 6).malignant == 6
    assert told.views == {"CC": 16}
    few = replace(
        site,
        breasts=tuple(
            replace(breast, views=tuple(replace(view, view="ML" if number < 3 else view.view) for view in breast.views))
            for number, breast in enumerate(site.breasts)
        ),
    )
    assert shift_of(few, few, TASK, 5).views == {"CC": 13}


@pytest.mark.parametrize(("word", "told"), [("C", {"C": 16}), ("3", {"C": 16}), ("", {}), ("G", {}), ("name", {})])
def test_densities_are_told_in_birads_only(site, word, told):
    assert shift_of(with_breasts(site, density=word), None, TASK, 5).densities == told


def test_spacing_is_that_of_the_stored_pixels_and_of_the_input(site):
    views = tuple(replace(breast, views=(View(breast.views[0].file, "CC", 2, None, 0.07),)) for breast in site.breasts)
    geometry = replace(site.views[0][0].geometry, crop=(0, 0, 160, 320))
    images = tuple((replace(image, geometry=geometry),) for (image,) in site.views)
    told = shift_of(replace(site, breasts=views, views=images), None, TASK, 5)
    assert told.spacing_mm == pytest.approx([0.07] * 3) and told.input_spacing_mm == pytest.approx([0.7] * 3)
    assert shift_of(site, None, TASK, 5).spacing_mm == []


def test_features_are_means_of_each_patients_views_over_validation_patients(site):
    data = with_breasts(site, split="validation")
    pairs = tuple(replace(breast, patient_id=f"p{number // 2}") for number, breast in enumerate(data.breasts))
    data = replace(data, breasts=pairs)
    model = build_classifier(TASK.model, 0).eval()
    images = torch.tensor(np.stack([image.pixels for views in data.views for image in views]).astype(np.float32))[
        :, None
    ]
    with torch.inference_mode():
        plain = model.backbone(torch.where(images <= -3, 0.0, images)).mean((2, 3)).numpy().reshape(8, 2, -1).mean(1)
    fast = replace(TASK, training=replace(TASK.training, precision="fp32"))
    np.testing.assert_allclose(pooled_features(model, data, fast), plain, atol=1e-5)
    told = shift_of(data, data, fast, 5, model)
    np.testing.assert_allclose(told.feature_mean, plain.mean(0), atol=1e-5)
    np.testing.assert_allclose(told.feature_variance, plain.var(0, ddof=1), atol=1e-5)
    assert told.feature_patients == 8
    assert shift_of(data, data, fast, 9, model).feature_mean == [], "eight patients are below the cell"


def test_a_survey_asks_every_site_and_leaves_out_by_name_who_tells_what_cannot_be(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    small = SmallFederation(tmp_path, monkeypatch)
    config = small.config("fedavg")
    grid = small.federation(tmp_path, config, LocalGrid).grid
    found = survey(grid, connected_sites(grid), task_of(config), None, 60.0)
    told = found.told
    assert list(told) == ["MCS", "TUH", "RAW"] and told["TUH"].stored[5] > told["MCS"].stored[5] > told["RAW"].stored[5]
    assert found.left_out == {}
    monkeypatch.setattr("client.app.shift_of", lambda *_: replace(told["MCS"], stored=told["MCS"].stored[::-1]))
    found = survey(grid, connected_sites(grid), task_of(config), None, 60.0)
    assert found.told == {} and list(found.left_out) == ["MCS", "TUH", "RAW"]
    assert "MCS is left out: quantiles that are not finite or do not increase" in caplog.text
    monkeypatch.setattr("client.app.shift_of", lambda *_: EMPTY)
    left_out = survey(grid, connected_sites(grid), task_of(config), None, 60.0).left_out
    assert set(left_out.values()) == {"it has too few patients to tell anything"}
