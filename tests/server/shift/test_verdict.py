"""One kind of shift at a time is called by its name, and leads to the row of docs/methods.md."""

from dataclasses import replace

import numpy as np
import pytest

from common.configuration import TaskConfig, load_run
from server.shift.page import assess, command, write_shift
from tests.server.shift.test_distances import REPORT


def moved(**changes):
    return assess(TaskConfig(), {"A": REPORT, "B": replace(REPORT, **changes), "C": REPORT})


def curved(values, power=1.6):
    values = np.array(values)
    unit = (values - values[0]) / (values[-1] - values[0])
    return list(values[0] + (values[-1] - values[0]) * unit**power)


CASES = {
    "none": ({}, "fedavg", "local_contrast"),
    "gain and offset": ({"stored": list(np.linspace(0.4, 0.6, 11))}, "silobn", "local_contrast"),
    "curve": ({"stored": curved(REPORT.stored), "standardised": curved(REPORT.standardised)}, "silobn", "landmarks"),
    "scale": ({"input_spacing_mm": [0.9, 1.0, 1.1]}, "fedavg", "local_contrast"),
    "prevalence": ({"malignant": 200}, "fedavg", "local_contrast"),
    "projections": ({"views": {"MLO": 800}}, "ditto", "local_contrast"),
    "densities": ({"densities": {"C": 200, "D": 200}}, "ditto", "local_contrast"),
}
KIND = {"gain and offset": "appearance", "curve": "appearance", "projections": "structure", "densities": "structure"}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_is_named_and_answered(case):
    changes, method, harmonisation = CASES[case]
    shift = moved(**changes)
    assert shift.advice.likely == KIND.get(case, case)
    assert (shift.advice.method, shift.advice.harmonisation) == (method, harmonisation)
    if case != "none":
        assert "B" in shift.found[0].between
        assert [item.kind for item in shift.found if item.strength >= 1] == [shift.advice.likely]
    load_run("tiny", command(shift).split())  # what is recommended can be set


def test_a_difference_of_prevalence_within_its_interval_does_not_count():
    few = replace(REPORT, breasts=20, malignant=5)
    shift = assess(TaskConfig(), {"A": few, "B": replace(few, malignant=8)})
    assert shift.advice.likely == "none"


def test_features_tell_of_structure_only_where_grey_values_are_alike():
    far = {"feature_mean": [3.0] * 8, "feature_variance": [1.0] * 8, "feature_patients": 50}
    near = replace(REPORT, feature_mean=[0.0] * 8, feature_variance=[1.0] * 8, feature_patients=50)
    shift = assess(TaskConfig(), {"A": near, "B": replace(near, **far)})
    assert shift.advice.likely == "structure" and shift.found[0].strength == pytest.approx(6, rel=0.01)
    darker = replace(near, **far, prepared=list(np.linspace(-3, 1, 11)))
    assert assess(TaskConfig(), {"A": near, "B": darker}).advice.likely == "none"


def test_the_page_stands_alone_and_names_of_sites_are_only_text(tmp_path):
    told = {"A": REPORT, "<script>B": replace(REPORT, views={"MLO": 800}, malignant=None, spacing_mm=[])}
    shift = assess(TaskConfig(), told, {"C": "the site refused: <b>policy</b>"})
    text = write_shift(shift, tmp_path).read_text()
    assert "not compared: the site refused: &lt;b&gt;policy" in text
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert command(shift) in text and shift.advice.reasons[0] in text
    assert (tmp_path / "shift.json").stat().st_size > 1000
