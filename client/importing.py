"""Turns an archive into a site: its manifest, and a list of what was left out and why."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.atomic import write_text
from common.configuration.naming import nearest
from common.data.manifest import LABELS, MANIFEST, Manifest, read_manifest
from common.data.manifest_writer import manifest_text
from common.data.sources import SOURCES
from common.errors import ConfigurationError, EmptySiteError

LEFT_OUT = "left-out.csv"
REMARKS = "remarks.csv"
MOST_REASONS = 8


@dataclass(frozen=True)
class ImportedSite:
    """What was written, how often each reason left something out, and how often each remark was made."""

    manifest: Manifest
    file: Path
    reasons: Counter[str]
    remarks: Counter[str]


def import_site(source: str, archive: Path, site: str, folder: Path, replace: bool = False) -> ImportedSite:
    """Read an archive; write ``manifest.csv`` and, where needed, ``left-out.csv`` and ``remarks.csv`` to ``folder``.

    The archive is only read. The manifest is checked as a training run would check it, before an
    earlier one is touched.

    Args:
        source: a key of ``SOURCES``.
        archive: its folder.
        site: name of the site, for messages.
        folder: the site's data folder; made if it is not there.
        replace: an existing, different manifest may be replaced.

    Raises:
        ConfigurationError: unknown source, or a different manifest is there.
        EmptySiteError: nothing can be imported.
        XaiFederationError: whatever is wrong with the archive, by name.
    """
    if source not in SOURCES:
        guess = nearest(source, list(SOURCES))
        raise ConfigurationError(
            f"unknown source '{source}'",
            where="--source",
            do=(f"did you mean '{guess}'? " if guess else "") + f"sources are {', '.join(SOURCES)}",
        )
    imported = SOURCES[source].read(archive)
    reasons = Counter(reason for _, reason in imported.left_out)
    if not imported.images:
        raise EmptySiteError(
            f"nothing can be imported from the archive: {_counted(reasons) or 'it is empty'}",
            where=str(archive),
            do=f"it should hold {SOURCES[source].layout}",
        )
    file, text = folder / MANIFEST, manifest_text(imported.images, folder)
    if file.exists() and not replace and file.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigurationError(
            "there is a manifest already, and it differs", where=str(file), do="use --replace, or another --out"
        )
    candidate = folder / f".{MANIFEST}.new"
    write_text(candidate, text)
    try:
        manifest = read_manifest(candidate, site)
    except BaseException:
        candidate.unlink()
        raise
    candidate.replace(file)
    _write_pairs(imported.left_out, folder / LEFT_OUT)
    _write_pairs(imported.remarks, folder / REMARKS)
    return ImportedSite(manifest, file, reasons, Counter(remark for _, remark in imported.remarks))


def _write_pairs(pairs: Sequence[tuple[str, str]], file: Path) -> None:
    if pairs:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([("what", "why"), *pairs])
        write_text(file, stream.getvalue())
    else:
        file.unlink(missing_ok=True)


def _counted(reasons: Counter[str]) -> str:
    return "; ".join(f"{reason} ({number})" for reason, number in reasons.most_common(MOST_REASONS))


def describe(site: ImportedSite) -> str:
    """The import in a few lines for a terminal."""
    breasts = site.manifest.breasts
    views = [view for breast in breasts for view in breast.views]
    labels = Counter(breast.label for breast in breasts)
    boxed = sum(view.boxes is not None for view in views)
    lines = [
        f"patients   {len(site.manifest.patients)}",
        f"breasts    {len(breasts)}: " + ", ".join(f"{labels[label]} {label}" for label in reversed(LABELS)),
        f"images     {len(views)}: "
        + ", ".join(f"{number} {view}" for view, number in Counter(view.view for view in views).most_common()),
        f"boxes      known for {boxed} images, {sum(len(view.boxes or ()) for view in views)} boxes",
    ]
    splits = Counter(breast.split for breast in breasts if breast.split)
    if splits:
        lines.append("split      breasts: " + ", ".join(f"{number} {name}" for name, number in splits.most_common()))
    if site.reasons:
        lines.append(f"left out   {_counted(site.reasons)} ({site.file.parent / LEFT_OUT})")
    if site.remarks:
        lines.append(f"remarks    {_counted(site.remarks)} ({site.file.parent / REMARKS})")
    return "\n".join([*lines, f"manifest   {site.file}"])
