"""Every way in which a reply can be bad, by name."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord

from common.errors import MessageTooLargeError, WireError
from common.metrics.froc import GRID
from common.packing import pack
from common.parameters import rounded
from common.protocol import (
    Estimate,
    EvaluationReport,
    ExplanationQuality,
    ExplanationScore,
    FrocReport,
    PersonalFigures,
    PrivacySpent,
    Refusal,
    SiteDescription,
    TrainReport,
)
from common.wire import encode
from server.admission import (
    ImpossibleFiguresError,
    SiteRefusedError,
    StaleReplyError,
    UpdateNotFiniteError,
    UpdateTooLargeError,
    admit,
    described_by,
    evaluated,
)

MODEL = {"w": torch.zeros(2, 3), "b": torch.zeros(3), "count": torch.tensor(4)}
REPORT = TrainReport(patients=10, breasts=12, malignant=4, steps=3, loss=0.5, seconds=1.0, round=7)


def reply(update=None, report=REPORT, dtype="bfloat16"):
    good = {"w": torch.full((2, 3), 0.5), "b": torch.full((3,), -2.0)}
    return encode(report, pack(rounded({**good, **(update or {})}, dtype)))


def with_array(data, dtype="uint8", shape=None):
    """A reply whose array is what a site's own program made of it."""
    content = reply()
    content["arrays"] = ArrayRecord({"packed": Array(dtype, shape or (len(data),), "numpy.ndarray", data)})
    return content


def checked(content):
    return admit(content, MODEL, "bfloat16", 100.0, 7)


def test_a_good_reply_passes_with_its_norm():
    admitted = checked(reply())
    assert admitted.report == REPORT
    assert admitted.norm == pytest.approx((6 * 0.25 + 3 * 4.0) ** 0.5)
    assert admitted.update["w"].dtype == torch.float32


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (reply({"w": torch.ones(3, 2)}), WireError, r"w has shape \(3, 2\)"),
        (reply({"extra": torch.ones(1)}), WireError, "extra"),
        (reply(dtype="float32"), WireError, "float32, expected torch.bfloat16"),
        (reply({"b": torch.tensor([1.0, float("nan"), 0.0])}), UpdateNotFiniteError, "b holds"),
        (reply({"b": torch.tensor([1.0, float("inf"), 0.0])}), UpdateNotFiniteError, "b holds"),
        (reply({"b": torch.tensor([1e6, 0.0, 0.0])}), UpdateTooLargeError, "over the limit"),
        (reply(report=TrainReport(0, 0, 0, 3, 0.5, 1.0, 7)), ImpossibleFiguresError, "impossible counts"),
        (reply(report=TrainReport(9, 9, 10, 3, 0.5, 1.0, 7)), ImpossibleFiguresError, "impossible counts"),
        (reply(report=TrainReport(10**12, 10**12, 3, 3, 0.5, 1.0, 7)), ImpossibleFiguresError, "impossible counts"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, float("inf"), 7)), ImpossibleFiguresError, "times"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, 7, counted=10)), ImpossibleFiguresError, "10 of 9 patients"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, 7, counted=0)), ImpossibleFiguresError, "0 of 9 patients"),
        (reply(report=TrainReport(9, 9, 3, 3, float("nan"), 1.0, 7)), UpdateNotFiniteError, "loss is nan"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, 7, own_loss=-0.1)), ImpossibleFiguresError, "own model"),
        (
            reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, 7, own_loss=float("inf"))),
            ImpossibleFiguresError,
            "own model",
        ),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, 6)), StaleReplyError, "is for round 6, round 7 was asked"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0)), StaleReplyError, "is for round none"),
        (with_array(b""), WireError, "header is damaged"),
        (with_array(b"\x93NUMPY\x01\x00\xff\xff{"), WireError, "header is damaged"),
        (with_array(b"\x93NUMPY\x02\x00"), WireError, "not one flat array"),
        (encode(REPORT), WireError, "carries no model"),
        (encode(Refusal("EmptySiteError", "A site has no patients.")), SiteRefusedError, "EmptySiteError"),
        (encode(EvaluationReport(1, 1, 1, 1, 0.1, Estimate(None))), WireError, "expected a TrainReport"),
        (WireError("the site's program failed"), WireError, "program failed"),
    ],
)
def test_bad_replies_are_named(bad, error, says):
    with pytest.raises(error, match=says):
        checked(bad)


SPENT = PrivacySpent(2.0, 0.01, "patient")


@pytest.mark.parametrize(
    ("unit", "spent", "says"),
    [
        ("patient", None, "a patient's privacy was asked for and nothing is said of it"),
        ("none", SPENT, "asked: none"),
        ("patient", replace(SPENT, unit="image"), "impossible privacy of a image"),
        ("patient", replace(SPENT, epsilon=-0.1), "epsilon -0.1"),
        ("patient", replace(SPENT, epsilon=float("inf")), "epsilon inf"),
        ("patient", replace(SPENT, epsilon=float("nan")), "epsilon nan"),
        ("patient", replace(SPENT, delta=0.0), "delta 0.0"),
        ("patient", replace(SPENT, delta=0.1), "delta 0.1"),
    ],
)
def test_privacy_is_promised_when_asked_for_and_only_as_it_can_be(unit, spent, says):
    """One over ten patients is no delta."""
    admit(reply(report=replace(REPORT, privacy=SPENT)), MODEL, "bfloat16", 100.0, 7, "patient")
    admit(
        reply(report=replace(REPORT, privacy=replace(SPENT, delta=0.2), counted=4)),
        MODEL,
        "bfloat16",
        100.0,
        7,
        "patient",
    )
    with pytest.raises(ImpossibleFiguresError, match=says):
        admit(reply(report=replace(REPORT, privacy=spent)), MODEL, "bfloat16", 100.0, 7, unit)


def test_a_description_that_promises_what_was_not_asked_for_is_refused():
    site = SiteDescription(9, 9, 18, 3, 0, 6, {}, "known", 0, 0, {}, "0.1.0", "0" * 64, SPENT)
    assert described_by(encode(site), "patient").planned == SPENT
    assert described_by(encode(replace(site, planned=None)), "patient").planned is None, (
        "of a site that is only tested on"
    )
    for unit, planned in (("none", SPENT), ("patient", replace(SPENT, delta=1.0))):
        with pytest.raises(ImpossibleFiguresError, match="impossible privacy"):
            described_by(encode(replace(site, planned=planned)), unit)


def test_an_update_damaged_on_the_way_is_found_by_its_digest():
    packed = pack({"w": torch.zeros(2, 3)}).copy()
    packed[-1] ^= 1
    with pytest.raises(WireError, match="digest"):
        checked(encode(REPORT, packed))


def saved(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        saved(np.zeros(5, np.uint8))[:-1],
        saved(np.zeros((2, 3), np.uint8)),
        saved(np.zeros(5)),
        saved(np.zeros(5, np.uint8)).replace(b"(5,)", b"(9,)"),
        saved(np.array([b"[" * 400])),
    ],
    ids=["cut", "two dimensions", "floats", "announces more", "bytes"],
)
def test_an_array_that_is_not_flat_bytes_is_refused(data):
    with pytest.raises(WireError, match="flat array"):
        checked(with_array(data))


def test_an_update_that_is_too_large_is_refused_without_being_unpacked():
    """Fifty megabytes for a model of some hundred bytes; what Flower holds of it is not copied once."""
    content = with_array(saved(np.zeros(50_000_000, np.uint8)))
    tracemalloc.start()
    with pytest.raises(MessageTooLargeError, match="takes 50000128 bytes, this model's at most"):
        checked(content)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_the_largest_honest_update_passes_whatever_its_names_and_shapes():
    model = {f"layer.{index}.\u00fcber\n": torch.zeros([1] * (index % 8) + [index]) for index in range(1, 40)}
    content = encode(REPORT, pack(model))
    assert admit(content, model, "float32", 1.0, 7).norm == 0


def test_a_text_that_no_message_needs_is_refused():
    content = reply()
    content["message"]["body"] = " " * 2_000_000 + "{}"
    with pytest.raises(MessageTooLargeError, match="2000002 characters"):
        checked(content)


def froc(**changes):
    curve = [Estimate(0.5)] * len(GRID)
    good = {"images": 8, "lesions": 3, "breasts": 2, "false_positives": list(GRID), "per_lesion": curve,
            "per_breast": curve, "mean_per_lesion": Estimate(0.5), "mean_per_breast": Estimate(0.5)}  # fmt: skip
    return FrocReport(**good | changes)


def explained(method="gradcam", **changes):
    good = {"pointing_game": Estimate(0.5), "energy_in_box": Estimate(0.1), "views": 8, "gap": 0.0,
            "randomised": Estimate(-0.2, -0.3, 0.1), "quality": quality(), "agreement": {"random": Estimate(-0.1)},
            "ahead": lead(-0.4, "deletion") | lead(1.4, "faithfulness")}  # fmt: skip
    return {method: ExplanationScore(**good | changes)}


def quality(**changes):
    good = dict.fromkeys(("iou", "dice", "deletion", "insertion"), Estimate(0.2, 0.1, 0.3))
    good |= {"views": 6, "faithfulness": Estimate(-0.1, -0.3, 0.1), "sensitivity": Estimate(3.5, 0.2, 8.0)}
    return ExplanationQuality(**good | changes)


def lead(value, measure="energy_in_box", controls=("intensity", "random")):
    return {measure: dict.fromkeys(controls, Estimate(value))}


EVALUATION = {"patients": 4, "breasts": 5, "images": 8, "malignant": 2, "loss": 0.5, "auc": Estimate(0.75), "round": 7}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"auc": Estimate(1.5)}, ImpossibleFiguresError, "impossible AUC"),
        ({"froc": froc(per_lesion=[Estimate(7.0)] * len(GRID))}, ImpossibleFiguresError, "impossible FROC"),
        ({"froc": froc(mean_per_lesion=Estimate(1.1))}, ImpossibleFiguresError, "impossible FROC"),
        ({"froc": froc(per_breast=[Estimate(0.5)])}, ImpossibleFiguresError, "another grid"),
        ({"froc": froc(false_positives=[1.0] * len(GRID))}, ImpossibleFiguresError, "another grid"),
        ({"froc": froc(breasts=9)}, ImpossibleFiguresError, "3 lesions in 9 breasts"),
        ({"explanations": explained("<b>mine</b>")}, ImpossibleFiguresError, "an explainer that there is not"),
        ({"explanations": explained(pointing_game=Estimate(1.5))}, ImpossibleFiguresError, "score of gradcam"),
        (
            {"explanations": explained(energy_in_box=Estimate(0.5, -1))},
            ImpossibleFiguresError,
            "score of gradcam",
        ),
        ({"explanations": explained(randomised=Estimate(-1.5))}, ImpossibleFiguresError, "impossible rank correlation"),
        ({"explanations": explained(views=-1)}, ImpossibleFiguresError, "impossible score"),
        ({"explanations": explained(gap=float("inf"))}, ImpossibleFiguresError, "impossible score"),
        ({"explanations": explained(agreement={"mine": Estimate(0.1)})}, ImpossibleFiguresError, "that there is not"),
        ({"explanations": explained(agreement={"random": Estimate(1.1)})}, ImpossibleFiguresError, "rank correlation"),
        ({"explanations": explained(ahead=lead(1.1))}, ImpossibleFiguresError, "lead of gradcam"),
        ({"explanations": explained(ahead=lead(2.1, "faithfulness"))}, ImpossibleFiguresError, "lead of gradcam"),
        ({"explanations": explained(ahead=lead(0.1, "beauty"))}, ImpossibleFiguresError, "that there are not"),
        ({"explanations": explained(ahead=lead(0.1, controls=["me"]))}, ImpossibleFiguresError, "that there are not"),
        ({"explanations": explained(ahead=lead(0.1, controls=["random"]))}, ImpossibleFiguresError, "there are not"),
        ({"explanations": explained(quality=quality(views=9))}, ImpossibleFiguresError, "9 of 8 views"),
        ({"explanations": explained(quality=quality(views=-1))}, ImpossibleFiguresError, "-1 of 8 views"),
        *(
            ({"explanations": explained(quality=quality(**{name: Estimate(1.2)}))}, ImpossibleFiguresError, "score of")
            for name in ("iou", "dice", "deletion", "insertion")
        ),
        *(
            ({"explanations": explained(quality=quality(faithfulness=bad))}, ImpossibleFiguresError, "faithfulness of")
            for bad in (Estimate(-1.1), Estimate(0.1, 0.0, 1.1), Estimate(float("nan")))
        ),
        *(
            ({"explanations": explained(quality=quality(sensitivity=bad))}, ImpossibleFiguresError, "sensitivity of")
            for bad in (Estimate(-0.1), Estimate(float("inf")), Estimate(float("nan")))
        ),
        ({"auc": Estimate(0.5, -0.1, 0.6)}, ImpossibleFiguresError, "impossible AUC"),
        ({"sensitivity": Estimate(float("nan"))}, ImpossibleFiguresError, "impossible sensitivity"),
        ({"loss": float("inf")}, ImpossibleFiguresError, "impossible loss"),
        ({"malignant": 6}, ImpossibleFiguresError, "impossible counts"),
        ({"round": 3}, StaleReplyError, "is for round 3, round 7 was asked"),
    ],
)
def test_an_evaluation_that_cannot_be_true_is_refused(change, error, says):
    good = EvaluationReport(**EVALUATION, froc=froc(), explanations=explained() | explained("random"))
    assert evaluated(encode(good), 7).auc.value == 0.75
    with pytest.raises(error, match=says):
        evaluated(encode(EvaluationReport(**EVALUATION | change)), 7)


def test_a_control_variate_needs_a_step():
    lazy = reply(report=TrainReport(9, 9, 3, 0, 0.5, 1.0, 7))
    assert admit(lazy, MODEL, "bfloat16", 100.0, 7).report.steps == 0
    with pytest.raises(ImpossibleFiguresError, match="counts or times"):
        admit(lazy, MODEL, "bfloat16", 100.0, 7, minimum_steps=1)


@pytest.mark.parametrize(
    "figures",
    [
        PersonalFigures(Estimate(1.5), 0.5),
        PersonalFigures(Estimate(0.5), -1.0),
        PersonalFigures(Estimate(0.5), 0.5, Estimate(-0.1)),
    ],
)
def test_impossible_figures_of_a_personal_model_are_refused(figures):
    with pytest.raises(ImpossibleFiguresError, match="impossible"):
        evaluated(encode(EvaluationReport(4, 4, 8, 2, 0.5, Estimate(0.75), personal=figures, round=3)), 3)
