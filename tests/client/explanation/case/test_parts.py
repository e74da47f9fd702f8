"""Choice of exams, occlusion and reliability on small things that can be counted."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from client.explanation.case.choice import Exam, exams, named, worst
from client.explanation.case.classifier_reader import reliability_without
from client.explanation.case.occlusion import control, elsewhere, hottest_region, what_if, without
from client.explanation.case.page import per_cent, points
from client.explanation.case.reliability import Reliability
from common.configuration import ModelConfig, TaskConfig
from common.data.dataset import SiteData
from common.data.manifest import Breast, View
from common.errors import CaseError
from common.models.classifier import build_classifier
from common.models.published import PublishedModel


def breast(patient, exam, side, label="normal", split="test"):
    view = View(Path(f"dicom/{exam}-{side}.dcm"), "CC", 1, None)
    return Breast(patient, exam, side, label, split, (view,))


@pytest.fixture
def data():
    breasts = (
        breast("P1", "E1", "L"), breast("P1", "E1", "R", "malignant"), breast("P1", "E2", "L"),
        breast("P2", "E3", "L", "malignant", "train"), breast("P3", "E4", "R", "malignant"),
    )  # fmt: skip
    return SiteData("TUH", breasts, ((),) * len(breasts))


def test_exams_hold_their_breasts_in_order(data):
    assert exams(data) == [
        Exam("P1", "E1", (0, 1)), Exam("P1", "E2", (2,)), Exam("P2", "E3", (3,)), Exam("P3", "E4", (4,)),
    ]  # fmt: skip


def test_exams_are_found_by_exam_patient_and_file(data):
    assert [exam.exam_id for exam in named(data, ["E3"])] == ["E3"]
    assert [exam.exam_id for exam in named(data, ["P1"])] == ["E1", "E2"]
    assert [exam.exam_id for exam in named(data, ["dicom/E4-R.dcm", "E4", "E1"])] == ["E4", "E1"]


def test_an_unknown_name_is_refused_with_the_nearest(data):
    with pytest.raises(CaseError, match="no usable exam, patient or image 'E11'") as caught:
        named(data, ["E1", "E11"])
    assert "did you mean 'E1'?" in str(caught.value)


def test_the_worst_are_the_surest_mistakes_among_test_patients(data):
    logits = np.array([-3.0, 2.0, 1.0, -9.0, -2.0])
    # Cross-entropy: E1 0.05 and 0.13; E2 1.31; E3 would be 9 but was trained on; E4 2.13.
    assert [exam.exam_id for exam in worst(data, logits, 2)] == ["E4", "E2"]
    assert [exam.exam_id for exam in worst(data, logits, 10)] == ["E4", "E2", "E1"]


def test_without_test_patients_there_is_no_worst(data):
    with pytest.raises(CaseError, match="no test patients"):
        worst(SiteData("TUH", data.breasts[3:4], ((),)), np.zeros(1), 3)


TISSUE = np.zeros((64, 48), bool)
TISSUE[8:56, :40] = True
LESION = np.zeros_like(TISSUE)
LESION[20:26, 10:16] = True


def view_with_lesion():
    tissue = np.where(TISSUE, np.float32(0.5), np.float32(-3.0))
    return np.where(LESION, np.float32(4.0), tissue)


def test_a_region_becomes_the_tissue_around_it_and_nothing_else_changes():
    found = without(view_with_lesion(), TISSUE, LESION)
    assert found[LESION] == pytest.approx(0.5, abs=1e-5)  # neither lesion nor air is smoothed in
    assert np.array_equal(found[~LESION], view_with_lesion()[~LESION])


def test_air_stays_air_and_a_breast_without_rest_stays_finite():
    everything = np.ones_like(TISSUE)
    found = without(view_with_lesion(), TISSUE, everything)
    assert np.all(found[~TISSUE] == -3.0)
    assert np.isfinite(found).all()


def test_the_hottest_region_is_one_connected_part():
    found = np.zeros((10, 10), np.float32)
    found[1:3, 1:3] = 0.9
    found[6:8, 6:9] = 0.7
    found[6, 6] = 1.0
    region = hottest_region(found)
    assert np.array_equal(np.argwhere(region), [[6, 6], [6, 7], [6, 8], [7, 6], [7, 7], [7, 8]])
    assert not hottest_region(np.zeros((10, 10), np.float32)).any()


def test_elsewhere_is_as_large_in_tissue_and_not_at_the_region():
    random = np.random.default_rng(0)
    sizes = []
    for _ in range(50):
        other = elsewhere(TISSUE, LESION, random)
        assert not (other & (LESION | ~TISSUE)).any()
        sizes.append(other.sum())
    assert np.median(sizes) == pytest.approx(LESION.sum(), rel=0.15)
    assert not elsewhere(TISSUE, np.zeros_like(TISSUE), random).any()


def test_taking_the_lesion_away_changes_the_score_and_other_places_do_not():
    images = np.stack([view_with_lesion(), view_with_lesion()])
    tissue = np.stack([TISSUE, TISSUE])

    def score(some):
        return some[:, 20:26, 10:16].mean(axis=(1, 2)).astype(float)

    nothing = np.zeros_like(LESION)
    assert what_if(score, images, tissue, [nothing, nothing], "").logit == pytest.approx(4.0)
    assert what_if(score, images, tissue, [LESION, nothing], "").logit == pytest.approx((0.5 + 4.0) / 2, abs=1e-4)
    assert what_if(score, images, tissue, [LESION, LESION], "").logit == pytest.approx(0.5, abs=1e-4)
    assert control(score, images, tissue, [LESION, LESION], "", seed=0).logit == pytest.approx(4.0)


def test_reliability_counts_the_nearest_scores_with_wilsons_interval():
    reliability = Reliability(np.array([0.95, 0.5, 0.52]), np.array([0.1] * 30 + [0.48] * 17))
    alike = reliability.alike(0.5)
    assert (alike.breasts, alike.malignant) == (20, 2)
    z, n, share = norm.ppf(0.975), 20, 2 / 20
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert (alike.low, alike.high) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )
    assert Reliability(np.empty(0), np.empty(0)).alike(0.5) is None
    assert Reliability(np.array([0.3]), np.empty(0)).alike(0.9).breasts == 1


def test_a_patients_own_outcome_does_not_speak_for_her_score(data):
    published = PublishedModel(build_classifier(ModelConfig(backbone="resnet8"), 0), TaskConfig(), 1, 0.0, "")
    logits = np.array([-3.0, 2.0, 1.0, -9.0, -2.0])
    everyone = reliability_without("", data, logits, published)
    without = reliability_without("P1", data, logits, published)
    assert (len(everyone.malignant), len(everyone.others)) == (2, 2)  # P2 is no test patient
    assert (len(without.malignant), len(without.others)) == (1, 0)
    assert without.malignant[0] == pytest.approx(1 / (1 + np.exp(2.0)))


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "below 1 %"), (0.004, "below 1 %"), (0.155, "16 %"), (0.995, "above 99 %")]
)
def test_probabilities_are_never_certain(value, words):
    assert per_cent(value) == words


@pytest.mark.parametrize(
    ("change", "words"), [(0.0, "none"), (-0.004, "none"), (0.12, "+12 points"), (-0.3, "\u221230 points")]
)
def test_changes_are_whole_points(change, words):
    assert points(change) == words
