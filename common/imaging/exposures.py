"""Which images of an archive are one exposure in two versions, or one image in two files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from common.imaging.eligibility import Exclusion

TAGS = (
    "SOPInstanceUID", "StudyInstanceUID", "PresentationIntentType", "SourceImageSequence", "IrradiationEventUID",
    "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime",
)  # fmt: skip
"""The attributes that :func:`exposure_of` looks at."""


@dataclass(frozen=True)
class Exposure:
    """What tells two exposures of one view apart. Empty where the header does not say."""

    instance: str
    exam: str
    laterality: str
    view: str
    for_processing: bool
    sources: frozenset[str] = frozenset()
    """Instances that this one was made from."""
    events: frozenset[str] = frozenset()
    """Irradiation events."""
    second: str = ""
    """When it was taken: date and time to the second."""


def exposure_of(header: Dataset, exam: str, laterality: str, view: str) -> Exposure:
    """The exposure that a header describes."""
    events = header.get("IrradiationEventUID") or ()
    moment = str(header.get("AcquisitionDateTime") or "")
    if not moment and header.get("AcquisitionTime"):
        moment = str(header.get("AcquisitionDate") or "") + str(header.AcquisitionTime)
    return Exposure(
        instance=str(header.get("SOPInstanceUID") or ""),
        exam=exam,
        laterality=laterality,
        view=view,
        for_processing=str(header.get("PresentationIntentType") or "").strip().upper() == "FOR PROCESSING",
        sources=frozenset(
            str(item.get("ReferencedSOPInstanceUID", "")) for item in header.get("SourceImageSequence") or ()
        ),
        events=frozenset([events] if isinstance(events, str) else map(str, events)),
        second=moment.split(".")[0],
    )


def redundant(exposures: Sequence[Exposure]) -> dict[int, Exclusion]:
    """Places of those that another one stands for already, and why.

    Of files with one SOP Instance UID the first is kept. A for-processing image falls away where the
    same exam has the same view of the same breast for presentation, of the same exposure: made from
    it, of the same irradiation event, or taken in the same second. Where nothing of that can be
    compared, it falls away too: both versions of a view would weigh a breast twice. Where something
    can be compared and differs, it is another exposure, and stays.
    """
    found: dict[int, Exclusion] = {}
    seen: set[str] = set()
    shown: dict[tuple[str, str, str], list[Exposure]] = defaultdict(list)
    for place, exposure in enumerate(exposures):
        if exposure.instance and exposure.instance in seen:
            found[place] = Exclusion.DUPLICATE
        elif not exposure.for_processing:
            shown[exposure.exam, exposure.laterality, exposure.view].append(exposure)
        seen.add(exposure.instance)
    for place, exposure in enumerate(exposures):
        others = shown.get((exposure.exam, exposure.laterality, exposure.view), ())
        if place not in found and exposure.for_processing and _shown_by(exposure, others):
            found[place] = Exclusion.TWIN
    return found


def _shown_by(raw: Exposure, others: Iterable[Exposure]) -> bool:
    return any(_same(raw, other) for other in others)


def _same(raw: Exposure, shown: Exposure) -> bool:
    if raw.instance in shown.sources or raw.events & shown.events:
        return True
    if raw.events and shown.events:
        return False
    return raw.second == shown.second or not (raw.second and shown.second)
