"""Every way in which a reply can be bad, by name."""

import pytest
import torch

from common.errors import WireError
from common.packing import pack
from common.parameters import rounded
from common.protocol import Estimate, EvaluationReport, Refusal, TrainReport, encode
from server.admission import SiteRefusedError, UpdateNotFiniteError, UpdateTooLargeError, admit

MODEL = {"w": torch.zeros(2, 3), "b": torch.zeros(3), "count": torch.tensor(4)}
REPORT = TrainReport(patients=10, breasts=12, malignant=4, steps=3, loss=0.5, seconds=1.0)


def reply(update=None, report=REPORT, dtype="bfloat16"):
    good = {"w": torch.full((2, 3), 0.5), "b": torch.full((3,), -2.0)}
    return encode(report, pack(rounded({**good, **(update or {})}, dtype)))


def test_a_good_reply_passes_with_its_norm():
    admitted = admit(reply(), MODEL, "bfloat16", 100.0)
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
        (reply(report=TrainReport(0, 0, 0, 3, 0.5, 1.0)), WireError, "impossible counts"),
        (reply(report=TrainReport(9, 9, 10, 3, 0.5, 1.0)), WireError, "impossible counts"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, counted=10)), WireError, "10 of 9 patients count"),
        (reply(report=TrainReport(9, 9, 3, 3, 0.5, 1.0, counted=0)), WireError, "0 of 9 patients count"),
        (reply(report=TrainReport(9, 9, 3, 3, float("nan"), 1.0)), UpdateNotFiniteError, "loss is nan"),
        (encode(REPORT), WireError, "carries no model"),
        (encode(Refusal("EmptySiteError", "A site has no patients.")), SiteRefusedError, "EmptySiteError"),
        (encode(EvaluationReport(1, 1, 1, 1, 0.1, Estimate(None))), WireError, "expected a TrainReport"),
        (WireError("the site's program failed"), WireError, "program failed"),
    ],
)
def test_bad_replies_are_named(bad, error, says):
    with pytest.raises(error, match=says):
        admit(bad, MODEL, "bfloat16", 100.0)


def test_an_update_damaged_on_the_way_is_found_by_its_digest():
    packed = pack({"w": torch.zeros(2, 3)}).copy()
    packed[-1] ^= 1
    with pytest.raises(WireError, match="digest"):
        admit(encode(REPORT, packed), MODEL, "bfloat16", 100.0)
