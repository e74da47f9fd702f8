"""Archives that can be imported as a site: a manifest or a DICOM export of one's own, and the public data sets."""

from __future__ import annotations

from collections.abc import Mapping

from common.data.sources.cbis_ddsm import CBIS_DDSM
from common.data.sources.cdd_cesm import CDD_CESM
from common.data.sources.cmmd import CMMD
from common.data.sources.dicom_folder import DICOM
from common.data.sources.inbreast import INBREAST
from common.data.sources.mias import MIAS
from common.data.sources.rsna import RSNA
from common.data.sources.source import Imported, ImportedImage, Source
from common.data.sources.table import TABLE
from common.data.sources.vindr import VINDR

SOURCES: Mapping[str, Source] = {
    "manifest": TABLE,
    "dicom": DICOM,
    "cbis-ddsm": CBIS_DDSM,
    "cmmd": CMMD,
    "inbreast": INBREAST,
    "vindr-mammo": VINDR,
    "mias": MIAS,
    "rsna": RSNA,
    "cdd-cesm": CDD_CESM,
}

__all__ = ["SOURCES", "Imported", "ImportedImage", "Source"]
