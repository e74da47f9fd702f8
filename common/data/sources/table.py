"""A manifest of one's own that lies elsewhere: checked, and written anew for the site."""

from __future__ import annotations

from pathlib import Path

from common.data.manifest import read_manifest
from common.data.sources.source import Imported, ImportedImage, Source


def read(folder: Path) -> Imported:
    """Read ``manifest.csv`` (or the CSV file given in place of a folder).

    Raises:
        XaiFederationError: as :func:`common.data.manifest.read_manifest`.
    """
    result = Imported()
    for breast in read_manifest(folder, folder.stem).breasts:
        for view in breast.views:
            if not view.file.is_file():
                result.leave_out(view.file.name, "its image is not there")
                continue
            result.images.append(
                ImportedImage(
                    patient_id=breast.patient_id,
                    exam_id=breast.exam_id,
                    laterality=breast.laterality,
                    view=view.view,
                    file=view.file,
                    label=breast.label,
                    boxes=view.boxes,
                    split=breast.split,
                    device=breast.device,
                    density=breast.density,
                    spacing_mm=view.spacing_mm,
                )
            )
    return result


TABLE = Source(
    title="a manifest of your own, with images anywhere",
    layout="manifest.csv, files relative to it; or the path of a CSV file of its columns",
    labels="as written: normal, benign or malignant. Empty boxes are unknown, [] means that there are none",
    read=read,
)
