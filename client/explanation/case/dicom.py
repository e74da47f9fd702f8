"""A case report as DICOM objects, for the hospital's own viewer: all of the source's patient and study.

Of every view whose original is a DICOM file: a Secondary Capture of the picture, a fractional Segmentation that is the
map, a Grayscale Softcopy Presentation State with the outlines of the hot regions or marks; of every study a
Comprehensive SR (TID 1500) with the score of each breast and the same outlines, written with highdicom, and the same as
a Mammography CAD SR (TID 4000).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import highdicom as hd
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from client.explanation.case.case import picture_name
from client.explanation.case.regions import Region
from client.explanation.case.sources import (
    MAKER,
    PRODUCT,
    Source,
    instances,
    region_name,
    shortened,
    tracking_uid,
    uid,
)
from client.explanation.case.terms import SALIENCE, SCHEME, Terms
from common import progress
from common.code import software_version
from common.models.published import PublishedDetector, PublishedModel

Published = PublishedModel | PublishedDetector
SERIES = 9000
"""Series numbers count on from here."""
BREAST = hd.sr.CodedConcept("76752008", "SCT", "Breast structure")
SIDES = {
    "L": hd.sr.CodedConcept("7771000", "SCT", "Left"),
    "R": hd.sr.CodedConcept("24028007", "SCT", "Right"),
}
COLOUR = hd.color.CIELabColor(60.0, 60.0, 60.0)


@dataclass(frozen=True)
class Written:
    """A DICOM object and the file name that it gets."""

    name: str
    dataset: Dataset


def dicom_objects(
    all_views: Sequence[Source],
    published: Published,
    method: str,
    pictures: Mapping[str, bytes],
    terms: Terms,
    cad: Callable[..., Dataset],
) -> Iterator[Written]:
    """Make the objects of a case.

    An object that cannot be made, because the original's header lacks what it needs, is left out and said. The same
    case, model and program give the same UIDs, so that an archive knows a second copy.

    Args:
        all_views: of the exam, whose originals are DICOM files.
        published: the model.
        method: of the maps.
        pictures: PNG of each view by its ``picture_name``.
        terms: what regions, maps and scores are.
        cad: makes the Mammography CAD SR of some views of one study, with a number for its series.
    """
    studies: dict[str, list[Source]] = {}
    for source in all_views:
        studies.setdefault(str(source.original.StudyInstanceUID), []).append(source)
    numbers = count(SERIES)
    for source in all_views:
        stem = picture_name(source.item, source.number)
        about = _About(source, studies[str(source.original.StudyInstanceUID)], published, method, terms)
        yield from _written(f"{stem}-picture.dcm", partial(about.capture, pictures[stem], next(numbers)))
        if source.maximum > 0:
            yield from _written(f"{stem}-map.dcm", partial(about.segmentation, next(numbers)))
        if source.regions:
            yield from _written(f"{stem}-outlines.dcm", partial(about.presentation, next(numbers)))
    for place, some in enumerate(studies.values(), 1):
        yield from _written(f"report-{place}.dcm", partial(_report, some, published, method, terms, next(numbers)))
        yield from _written(f"cad-{place}.dcm", partial(cad, some, number_of_series=next(numbers)))


def _written(name: str, make: Callable[[], Dataset]) -> Iterator[Written]:
    try:
        yield Written(name, make())
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # what highdicom misses in a header
        progress.say(f"no {name}: the original's header does not do: {error}")


class _About:
    """What the objects of one view share."""

    def __init__(
        self, source: Source, study: Sequence[Source], published: Published, method: str, terms: Terms
    ) -> None:
        self.source, self.study, self.method, self.terms = source, study, method, terms
        self.original, self.published = source.original, published

    def _common(self, kind: str, number: int) -> dict[str, Any]:
        key = (*self.terms.key, str(self.original.SOPInstanceUID), kind)
        return {
            "series_instance_uid": uid(self.published, self.method, *key, "series"),
            "series_number": number,
            "sop_instance_uid": uid(self.published, self.method, *key),
            "instance_number": 1,
            "manufacturer": MAKER,
        }

    def _program(self) -> dict[str, Any]:
        return {
            "manufacturer_model_name": PRODUCT,
            "software_versions": software_version(),
            "device_serial_number": self.published.digest[:16],
        }

    def capture(self, picture: bytes, number: int) -> Dataset:
        """The picture of the report: the view beside itself with map and boxes."""
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        made = hd.sc.SCImage.from_ref_dataset(
            self.original, pixels, "RGB", 8, hd.CoordinateSystemNames.PATIENT, **self._common("picture", number),
            laterality=self.source.item.breast.laterality, patient_orientation=("A", "F"),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )  # fmt: skip
        made.SeriesDescription = shortened(f"{MAKER}: {self.method}")
        made.BurnedInAnnotation = "NO"
        made.PatientOrientation = self.original.get("PatientOrientation")  # highdicom knows none such as FL
        return _finished(made)

    def segmentation(self, number: int) -> Dataset:
        """The map, as shares of its maximum over the breast's views, in the pixels of the original."""
        view = self.source.view
        full = np.clip(view.geometry.map_to_stored(view.found[self.method]) / self.source.maximum, 0.0, 1.0)
        segment = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label=shortened(self.terms.mapped),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=SALIENCE,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                self.method, hd.sr.CodedConcept("AI", SCHEME, "Artificial intelligence"), software_version()
            ),
            anatomic_regions=[BREAST],
        )
        made = hd.seg.Segmentation(
            [self.original], full[None].astype(np.float32), hd.seg.SegmentationTypeValues.FRACTIONAL, [segment],
            fractional_type=hd.seg.SegmentationFractionalTypeValues.OCCUPANCY, omit_empty_frames=False,
            **self._common("map", number), **self._program(),
        )  # fmt: skip
        made.SeriesDescription = shortened(f"{MAKER}: {self.method}, map")
        made.PatientOrientation = self.original.get("PatientOrientation")
        # A projection has no slice thickness, which this sequence would have to tell; the original tells the spacing.
        made.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
        return _finished(made)

    def presentation(self, number: int) -> Dataset:
        """Outlines over the original, as a viewer shows them."""
        side = self.source.item.breast.laterality
        layer = hd.pr.GraphicLayer("EXPLANATION", 1, self.terms.outlined, display_color=COLOUR)
        drawn = [
            hd.pr.GraphicObject(
                hd.pr.GraphicTypeValues.POLYLINE, region.outline, hd.pr.AnnotationUnitsValues.PIXEL,
                tracking_id=f"{side} {region_name(self.source, place)}",
                tracking_uid=tracking_uid(
                    self.published, self.method, self.study, side, region_name(self.source, place)
                ),
            )
            for place, region in enumerate(self.source.regions, 1)
        ]  # fmt: skip
        written = [self._label(region, place) for place, region in enumerate(self.source.regions, 1)]
        annotation = hd.pr.GraphicAnnotation(
            [self.original], layer, graphic_objects=drawn, text_objects=written if self.terms.labelled else None
        )
        made = hd.pr.GrayscaleSoftcopyPresentationState(
            [self.original], **self._common("outlines", number), **self._program(), content_label="EXPLANATION",
            content_description=self.terms.outlined[:64], graphic_layers=[layer], graphic_annotations=[annotation],
        )  # fmt: skip
        made.SeriesDescription = shortened(f"{MAKER}: {self.method}, outlines")
        made.Laterality = side
        return _finished(made)

    def _label(self, region: Region, place: int) -> hd.pr.TextObject:
        """Number and score, from the upper left corner of what it belongs to."""
        x, y = region.outline.min(axis=0)
        anchor = (float(np.clip(x, 1, self.original.Columns)), float(np.clip(y, 1, self.original.Rows)))
        return hd.pr.TextObject(
            f"{place}: {region.peak:.2f}",
            hd.pr.AnnotationUnitsValues.PIXEL,
            anchor_point=anchor,
            anchor_point_visible=False,
        )


def _report(some: Sequence[Source], published: Published, method: str, terms: Terms, number: int) -> Dataset:
    originals = [source.original for source in some]
    algorithm = hd.sr.AlgorithmIdentification(MAKER, software_version(), [f"model {published.digest}", method])
    groups: list[Any] = []
    for item in dict.fromkeys(source.item for source in some):
        site = [hd.sr.FindingSite(BREAST, laterality=SIDES[item.breast.laterality])]
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                _tracking(published, method, some, item.breast.laterality, "breast"),
                finding_sites=site,
                algorithm_id=algorithm,
                measurements=[_share(terms.breast, item.score)],
            )
        )
        for source in some:
            if source.item is not item:
                continue
            seen = hd.sr.SourceImageForRegion.from_source_image(source.original)
            for place, region in enumerate(source.regions, 1):
                outline = hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, region.outline, seen)
                what = region_name(source, place)
                groups.append(
                    hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                        _tracking(published, method, some, item.breast.laterality, what),
                        outline,
                        finding_type=terms.finding,
                        finding_sites=site,
                        algorithm_id=algorithm,
                        measurements=[_share(terms.strength, region.peak)],
                    )
                )
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid(published, method, "device"), MAKER, MAKER, PRODUCT, published.digest[:16]
    )
    content = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, device)),
        hd.sr.CodedConcept("71651007", "SCT", "Mammography"),
        groups,
        referenced_images=[original for original in originals if "ImagerPixelSpacing" in original] or None,
    )
    key = [*terms.key, *instances(some)]
    made = hd.sr.ComprehensiveSR(
        originals, content, uid(published, method, *key, "report", "series"), number,
        uid(published, method, *key, "report"), 1, manufacturer=MAKER, is_complete=True,
    )  # fmt: skip
    made.SeriesDescription = shortened(f"{MAKER}: report")
    return _finished(made)


def _tracking(
    published: Published, method: str, some: Sequence[Source], side: str, what: str
) -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(hd.UID(tracking_uid(published, method, some, side, what)), f"{side} {what}")


def _share(name: hd.sr.CodedConcept, value: float) -> hd.sr.Measurement:
    return hd.sr.Measurement(name, round(value, 4), codes.UCUM.NoUnits)


def _finished(made: Dataset) -> Dataset:
    """Empty where the standard wants a value or nothing, and highdicom writes none."""
    if "PositionReferenceIndicator" not in made and "FrameOfReferenceUID" in made:
        made.PositionReferenceIndicator = None
    return made
