"""What a site holds, in counts, and which program it runs."""

from __future__ import annotations

from collections import Counter

from common.code import code_digest, software_version
from common.comparison import VIEWS
from common.data.dataset import SiteData
from common.data.split import SPLITS
from common.protocol import SiteDescription, SplitCounts


def describe(data: SiteData) -> SiteDescription:
    """Count patients, breasts, images, labels, views and splits of a prepared site; name the program."""
    views = [view for breast in data.breasts for view in breast.views]
    known = sum(view.boxes is not None for view in views)
    labels = Counter(breast.label for breast in data.breasts)
    return SiteDescription(
        patients=data.patients,
        breasts=len(data.breasts),
        images=len(views),
        malignant=labels["malignant"],
        benign=labels["benign"],
        normal=labels["normal"],
        views=dict(Counter(view.view if view.view in VIEWS else "OTHER" for view in views)),
        boxes="known" if known == len(views) else "some" if known else "unknown",
        skipped=len(data.skipped),
        inverted=sum(image.geometry.inverted for images in data.views for image in images),
        splits={split: _counts(data.of_split(split)) for split in SPLITS},
        version=software_version(),
        code=code_digest(),
    )


def _counts(part: SiteData) -> SplitCounts:
    return SplitCounts(part.patients, len(part.breasts), int(part.targets.sum()))
