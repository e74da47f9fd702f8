"""The wire contract: what is sent is what arrives, and nothing else is accepted."""

import numpy as np
import pytest
import torch

from common.errors import WireError
from common.packing import from_bytes, pack, packed_size, read_metadata, to_bytes, unpack
from common.parameters import difference, rounded, shared, squared_norm
from common.protocol import CalibrationBin, Estimate, EvaluationReport, ExplanationScore, TrainReport
from common.wire import decode, encode, packed_array

TENSORS = {
    "w": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
    "half": torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
    "scalar": torch.tensor(2.5),
    "count": torch.tensor(9),
    "empty": torch.zeros(0, 4),
}


def test_packing_is_exact_and_one_flat_array():
    packed = pack(TENSORS)
    assert packed.dtype == np.uint8
    assert packed.ndim == 1
    for name, value in unpack(packed).items():
        assert value.dtype == TENSORS[name].dtype
        assert torch.equal(value, TENSORS[name])


def test_equal_tensors_give_equal_bytes_whatever_their_order_and_layout():
    channels_last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    metadata = {str(number): "x" for number in range(12)}
    first = to_bytes({"a": channels_last, "b": torch.ones(2)}, metadata)
    second = to_bytes({"b": torch.ones(2), "a": channels_last.contiguous()}, dict(reversed(metadata.items())))
    assert first == second
    assert read_metadata(first).items() > metadata.items()


@pytest.mark.parametrize("position", [3, 40, -1])
def test_a_flipped_bit_anywhere_is_found(position):
    data = bytearray(to_bytes(TENSORS))
    data[position] ^= 4
    with pytest.raises(WireError):
        from_bytes(bytes(data))


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 64])
def test_rubbish_is_a_wire_error(data):
    with pytest.raises(WireError):
        from_bytes(data)


def test_only_floating_point_tensors_are_shared():
    assert shared(TENSORS).keys() == {"w", "half", "scalar", "empty"}


def test_difference_and_norm_by_hand():
    after, before = (
        {"w": torch.tensor([3.0, 1.0]), "n": torch.tensor(2)},
        {"w": torch.tensor([0.0, 5.0]), "n": torch.tensor(1)},
    )
    update = difference(after, before)
    assert update.keys() == {"w"}
    assert update["w"].tolist() == [3.0, -4.0]
    assert squared_norm(update) == 25.0
    assert rounded(update, "bfloat16")["w"].dtype == torch.bfloat16


def test_messages_arrive_as_they_were_sent():
    report = EvaluationReport(
        patients=10,
        breasts=11,
        images=22,
        malignant=4,
        loss=0.31,
        auc=Estimate(0.83, 0.6, 0.95),
        roc_specificity=[0.0, 1.0],
        roc_sensitivity=[1.0, 0.2],
        calibration=[CalibrationBin(0.2, 0.25, 8)],
        explanations={"gradcam": ExplanationScore(Estimate(0.5, 0.3, 0.7), Estimate(None), 12)},
    )
    assert decode(encode(report), EvaluationReport) == report
    assert unpack(packed_array(encode(report, pack(TENSORS)), packed_size(TENSORS))).keys() == TENSORS.keys()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"patients": "many"}', "patients"),
        ("{}", "patients"),
        ("not json", "Invalid JSON"),
        (
            '{"patients":1,"breasts":1,"malignant":0,"steps":1,"loss":0.1,"seconds":1,"patient_names":["x"]}',
            "patient_names",
        ),
    ],
)
def test_malformed_messages_name_the_field(body, says):
    content = encode(TrainReport(1, 1, 0, 1, 0.1, 1.0))
    content["message"]["body"] = body
    with pytest.raises(WireError, match=says):
        decode(content, TrainReport)


def test_another_kind_of_message_is_refused():
    with pytest.raises(WireError, match="expected a EvaluationReport, got 'TrainReport'"):
        decode(encode(TrainReport(1, 1, 0, 1, 0.1, 1.0)), EvaluationReport)
    with pytest.raises(WireError, match="no model"):
        packed_array(encode(TrainReport(1, 1, 0, 1, 0.1, 1.0)), 100)
