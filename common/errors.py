"""Named errors for the user: one class per cause, each with its own exit code.

``docs/exit-codes.md`` has one section per code; a test keeps the two in step.
"""

from __future__ import annotations

from typing import ClassVar


class XaiFederationError(Exception):
    """Base of every error a user can cause or cure.

    Args:
        what: what was wrong, in one sentence.
        where: file, configuration key or site, when known.
        do: what the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        lines = [what]
        if where:
            lines.append(f"  where: {where}")
        if do:
            lines.append(f"  do:    {do}")
        super().__init__("\n".join(lines))


class ConfigurationError(XaiFederationError):
    """A configuration key is unknown, of the wrong type or out of range."""

    exit_code = 2


class MissingColumnError(XaiFederationError):
    """A manifest lacks a required column."""

    exit_code = 10


class ManifestError(XaiFederationError):
    """A manifest cannot be read, or a row holds a value that makes no sense."""

    exit_code = 11


class UnknownLabelError(XaiFederationError):
    """A manifest row carries a label other than normal, benign or malignant."""

    exit_code = 12


class BoxOutsideImageError(XaiFederationError):
    """A lesion box is empty, inverted or reaches outside its image."""

    exit_code = 13


class PatientInTwoSplitsError(XaiFederationError):
    """The ``split`` column puts one patient into more than one split."""

    exit_code = 14


class UnreadableImageError(XaiFederationError):
    """An image file is missing, damaged or of a kind that cannot be decoded."""

    exit_code = 15


class EmptySiteError(XaiFederationError):
    """A site has no (usable) patients."""

    exit_code = 16


class OneClassSiteError(XaiFederationError):
    """A site has patients of one class only, so nothing can be learnt or measured there."""

    exit_code = 17


class NoBreastFoundError(XaiFederationError):
    """No breast can be found in an image (blank, or all one value)."""

    exit_code = 18


class PreprocessingVersionError(XaiFederationError):
    """The run's images are prepared in another way than the site's software prepares them."""

    exit_code = 19


class NoLesionError(XaiFederationError):
    """A site has no lesion whose place is known, so a detector can learn nothing there."""

    exit_code = 45


class WeightsFileError(XaiFederationError):
    """A file of initial weights is missing, damaged or does not fit the model."""

    exit_code = 20


class StorageError(XaiFederationError):
    """Writing to disk failed (disk full, no permission); what was there before is intact."""

    exit_code = 21


class CheckpointError(XaiFederationError):
    """A run folder cannot be resumed: no checkpoint, a damaged one, or another configuration."""

    exit_code = 22


class QuorumError(XaiFederationError):
    """Too few sites were there, or answered usefully, before the deadline."""

    exit_code = 23


class WireError(XaiFederationError):
    """A message does not follow the wire contract (digest, names, shapes, types)."""

    exit_code = 24


class MessageTooLargeError(WireError):
    """A message, or what it announces, is larger than its task allows; it was not unpacked."""

    exit_code = 25


class MemoryLimitError(XaiFederationError):
    """The work needs more memory than the machine has, or than the site's policy allows."""

    exit_code = 26


class SiteStateError(XaiFederationError):
    """What a site kept of an earlier round of a run is missing or damaged."""

    exit_code = 27


class EnrolmentError(XaiFederationError):
    """A startup kit or a request for admission is damaged, or for another site or federation."""

    exit_code = 30


class FingerprintError(XaiFederationError):
    """The fingerprint that was read out is not the one of the request."""

    exit_code = 31


class CertificateError(XaiFederationError):
    """The server certificate is missing, expired, not valid yet or for another host."""

    exit_code = 32


class FederationStateError(XaiFederationError):
    """A command does not fit the state of the federation: not made, running already, or not running."""

    exit_code = 33


class CodeChangedError(XaiFederationError):
    """The installed program is not the one this site has accepted."""

    exit_code = 34


class PolicyRefusalError(XaiFederationError):
    """The site's policy does not allow what the coordinator asks."""

    exit_code = 35


class PrivacyBudgetError(PolicyRefusalError):
    """The privacy budget of the site's patients does not allow what the coordinator asks."""

    exit_code = 56


class LedgerError(XaiFederationError):
    """The privacy ledger of a site was changed, cut or damaged."""

    exit_code = 55


class AccountingError(XaiFederationError):
    """The accountant cannot say what private training costs."""

    exit_code = 57


class DisagreementError(XaiFederationError):
    """Sites and coordinator run different programs, or a site's policy forbids the run."""

    exit_code = 36


class RunStateError(XaiFederationError):
    """A run is unknown, or a command does not fit its state."""

    exit_code = 37


class AuditError(XaiFederationError):
    """An audit log was changed, cut or damaged."""

    exit_code = 38


class AddressError(XaiFederationError):
    """An address cannot be used: malformed, taken by another program, or not reachable."""

    exit_code = 39


class PreflightError(XaiFederationError):
    """A site's data are not fit for training; the report of its check says why."""

    exit_code = 40


class CaseError(XaiFederationError):
    """There is no such exam, patient or image to explain."""

    exit_code = 46


class SendingError(XaiFederationError):
    """An archive did not take a report."""

    exit_code = 47


class DeltaError(XaiFederationError):
    """Delta is not smaller than one over the site's training patients."""

    exit_code = 51


class MixedPatientsError(XaiFederationError):
    """The network mixes patients, so no bound holds for what one of them adds to an update."""

    exit_code = 52


class UnprovenNetworkError(XaiFederationError):
    """Nobody has proven the vectorised gradients of single patients for this network."""

    exit_code = 53


class PatientGradientError(XaiFederationError):
    """The gradients of single images do not add up to that of all of them."""

    exit_code = 54


class ExplainerError(XaiFederationError):
    """An explanation cannot be made, or does not add up to what it explains."""

    exit_code = 50
