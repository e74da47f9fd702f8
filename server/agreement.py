"""Before the first round: do coordinator and sites run the same program, and does every policy allow the run?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from common.code import code_digest, software_version
from common.errors import (
    DisagreementError,
    PolicyRefusalError,
    PreprocessingVersionError,
    PrivacyBudgetError,
    WireError,
)
from common.protocol import SiteDescription
from server.admission import SiteRefusedError
from server.history import Quarantined

POLICY = (PolicyRefusalError.__name__, PrivacyBudgetError.__name__)
"""What a site calls its refusal when its policy forbids what was asked."""


def require_agreement(
    answers: Mapping[str, SiteDescription | WireError],
    taught_by_boxes: Collection[str] = (),
    dispensable: Collection[str] = (),
    needed: int = 0,
) -> list[Quarantined]:
    """Refuse to train where sites would not do the same work; returns who is left out because of its policy.

    Sites that did not answer, or whose data are no good, are not judged here: the round loop leaves
    them out and names them.

    Args:
        answers: of every site, that of a site that did not give one included.
        taught_by_boxes: sites that a detector is to be trained at.
        dispensable: sites whose policy may forbid the run, as long as enough of them are left.
        needed: so many.

    Raises:
        DisagreementError: naming every site that differs and how.
    """
    forbidding = [
        Quarantined(site, answer.refusal.error, answer.refusal.meaning)
        for site, answer in answers.items()
        if site in dispensable and isinstance(answer, SiteRefusedError) and answer.refusal.error in POLICY
    ]
    spared = {item.site for item in forbidding} if len(dispensable) - len(forbidding) >= needed else set()
    problems = {
        site: problem
        for site, answer in answers.items()
        if (problem := _problem(answer, site, site in taught_by_boxes))
    }
    if problems.keys() - spared:
        raise DisagreementError(
            "the sites and the coordinator do not agree on this run",
            where="; ".join(problems.values()),
            do="update the programs named above, ask the hospital about its policy, or leave the site out; then resume",
        )
    return forbidding


def _problem(answer: SiteDescription | WireError, site: str, needs_boxes: bool) -> str:
    if isinstance(answer, SiteRefusedError):
        if answer.refusal.error in POLICY:
            return f"{site}'s policy: {answer.refusal.meaning}"
        if answer.refusal.error == PreprocessingVersionError.__name__:
            return f"{site}: {answer.refusal.meaning}"
    if isinstance(answer, WireError):
        return ""
    if answer.code != code_digest():
        return (
            f"{site} runs {answer.version} ({answer.code[:12]}), "
            f"the coordinator {software_version()} ({code_digest()[:12]})"
        )
    if needs_boxes and answer.boxes == "unknown":
        return f"{site} has no lesion boxes, a detector cannot learn there: name the sites that have some, sites=[...]"
    return ""
