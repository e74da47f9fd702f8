"""Before round 1: other programs, other preprocessing and forbidding policies are named, all at once."""

from dataclasses import replace

import pytest

from common.code import code_digest
from common.errors import DisagreementError, WireError
from common.protocol import Refusal, SiteDescription
from server.admission import SiteRefusedError
from server.agreement import require_agreement

SAME = SiteDescription(9, 9, 18, 3, 0, 6, {}, "known", 0, 0, {}, "0.1.0", code_digest())


def test_sites_with_the_same_program_agree_and_a_silent_one_is_not_judged():
    require_agreement({"MCS": SAME, "TUH": replace(SAME, patients=1)})
    require_agreement({"MCS": SAME, "TUH": WireError("no answer")})
    require_agreement({"MCS": SAME, "TUH": SiteRefusedError(Refusal("EmptySiteError", "A site has no patients."))})


def test_every_site_that_differs_is_named_with_what_differs():
    with pytest.raises(DisagreementError) as found:
        require_agreement(
            {
                "MCS": SAME,
                "OLD": replace(SAME, code="0" * 64, version="0.0.9"),
                "PIC": SiteRefusedError(Refusal("PreprocessingVersionError", "It prepares images in another way.")),
                "NO": SiteRefusedError(Refusal("PolicyRefusalError", "6 rounds are not allowed (at most 5)")),
            }
        )
    where = found.value.where
    assert "OLD runs 0.0.9 (000000000000)" in where
    assert "PIC: It prepares images in another way." in where
    assert "NO's policy: 6 rounds are not allowed" in where
    assert "MCS" not in where


def test_a_detector_is_not_begun_at_a_site_without_boxes():
    blind = replace(SAME, boxes="unknown")
    require_agreement({"MCS": SAME, "TUH": blind})
    require_agreement({"MCS": SAME, "TUH": blind, "RAW": replace(SAME, boxes="some")}, ["MCS", "RAW"])
    with pytest.raises(DisagreementError) as found:
        require_agreement({"MCS": SAME, "TUH": blind}, ["MCS", "TUH"])
    assert "TUH has no lesion boxes" in found.value.where and "MCS" not in found.value.where


def refusing(error):
    return SiteRefusedError(Refusal(error, "the run would overrun the budget"))


@pytest.mark.parametrize("error", ["PolicyRefusalError", "PrivacyBudgetError"])
def test_a_site_whose_policy_forbids_the_run_is_left_out_where_there_are_enough_others(error):
    answers = {"MCS": SAME, "TUH": refusing(error), "RAW": SAME, "FAR": WireError("no answer")}
    (left_out,) = require_agreement(answers, (), ["MCS", "TUH", "RAW"], 2)
    assert (left_out.site, left_out.error, left_out.meaning) == ("TUH", error, "the run would overrun the budget")
    for needed, others in ((3, {}), (2, {"RAW": replace(SAME, code="0" * 64)}), (2, {"RAW": refusing(error)})):
        with pytest.raises(DisagreementError) as found:
            require_agreement(answers | others, (), ["MCS", "TUH", "RAW"], needed)
        assert "TUH's policy: the run would overrun the budget" in found.value.where


def test_a_site_that_is_only_to_be_tested_on_is_not_left_out():
    with pytest.raises(DisagreementError, match="UNSEEN's policy"):
        require_agreement({"MCS": SAME, "UNSEEN": refusing("PolicyRefusalError")}, (), ["MCS"], 1)
