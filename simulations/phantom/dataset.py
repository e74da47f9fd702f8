"""A whole simulated site on disk: DICOM files, masks, manifest and truth; repeatable, resumable, in parallel."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from common.atomic import write_text
from common.data.manifest_writer import COLUMNS as MANIFEST_COLUMNS
from common.errors import ConfigurationError, StorageError
from simulations.phantom.dicom_writer import encode
from simulations.phantom.difficulty import DEFAULT, Difficulty
from simulations.phantom.patient import VIEWS, Patient, ViewName, draw_patient
from simulations.phantom.render import View, render_view
from simulations.phantom.sites import SHIFTS, SITES, SiteProfile, site_at

VERSION = "1.4"
"""Version of the generator; raise it with every change that alters a picture."""

TRUTH_COLUMNS = (
    "patient_id", "exam_id", "laterality", "view", "label", "z", "radius_mm", "depth", "lateral", "vertical",
    "axis_ratio", "visibility", "area_density", "thickness_mm", "nipple_distance_mm", "mask",
)  # fmt: skip
_MINIMUM_ROWS = 128


@dataclass(frozen=True)
class _Recipe:
    """All that decides the bytes of a site's files."""

    version: str
    site: str
    dataset_seed: int
    severity: float
    rows: int
    difficulty: Difficulty
    skin_markers: bool
    shifts: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """For the record and the digest; without markers or shifts as if there were no such thing."""
        return {key: value for key, value in asdict(self).items() if key not in ("skin_markers", "shifts") or value}

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:16]


def write_site(
    name: str,
    exams: int,
    folder: Path,
    *,
    dataset_seed: int = 0,
    severity: float = 1.0,
    rows: int = 512,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    difficulty: Difficulty = DEFAULT,
    skin_markers: bool = False,
    shifts: tuple[str, ...] = (),
) -> Path:
    """Write ``exams`` simulated exams (one patient, one breast, CC and MLO each) of a site; returns the manifest.

    Writes ``manifest.csv``, ``dicom/*.dcm``, ``masks/*.png``, ``truth.csv`` and, last, ``phantom.json``. Finished
    patients found in ``folder`` are kept, so an interrupted run continues and a finished site is reused. ``workers``
    processes (default: one per CPU) work on patients; ``progress(done, exams)`` is called in this process.
    ``skin_markers`` plants a shortcut: patients whose recorded label is malignant, and no others, wear a ring of wire.
    ``shifts`` makes sites differ in the named kinds alone (:func:`simulations.phantom.sites.site_at`).

    Raises:
        ConfigurationError: unknown site or shift, severity outside 0..2, rows below 128, or negative counts.
        StorageError: a file cannot be written.
    """
    _check(name, exams, dataset_seed, severity, rows)
    if unknown := set(shifts) - set(SHIFTS):
        raise ConfigurationError(f"unknown shift '{min(unknown)}'", do=f"use some of {', '.join(SHIFTS)}")
    ordered_shifts = tuple(kind for kind in SHIFTS if kind in shifts)
    recipe = _Recipe(VERSION, name, dataset_seed, severity, rows, difficulty, skin_markers, ordered_shifts)
    manifest = folder / "manifest.csv"
    try:
        for kind in ("dicom", "masks", "parts"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make {folder}: {error.strerror}", where=str(folder), do="check the folder"
        ) from error
    finished: dict[int, dict[str, Any]] = {}
    missing: list[int] = []
    for index in range(exams):
        kept = _read_part(folder, recipe, index)
        if kept is None:
            missing.append(index)
        else:
            finished[index] = kept
    if progress is not None and finished:
        progress(len(finished), exams)
    for index, part in _produce(folder, recipe, missing, workers):
        finished[index] = part
        if progress is not None:
            progress(len(finished), exams)
    summary = json.dumps({**recipe.facts(), "exams": exams}, indent=1, sort_keys=True) + "\n"
    record = folder / "phantom.json"
    if not missing and manifest.is_file() and record.is_file() and record.read_text() == summary:
        return manifest
    ordered = [finished[index] for index in range(exams)]
    write_text(manifest, _table(MANIFEST_COLUMNS, [row for part in ordered for row in part["manifest"]]))
    write_text(folder / "truth.csv", _table(TRUTH_COLUMNS, [row for part in ordered for row in part["truth"]]))
    write_text(record, summary)
    return manifest


def _check(name: str, exams: int, dataset_seed: int, severity: float, rows: int) -> None:
    if name not in SITES:
        raise ConfigurationError(f"unknown phantom site '{name}'", do=f"use one of {', '.join(SITES)}")
    if exams < 0 or dataset_seed < 0:
        raise ConfigurationError("exams and dataset_seed must not be negative", where=f"{exams}, {dataset_seed}")
    if not 0.0 <= severity <= 2.0:
        raise ConfigurationError(f"severity must lie between 0 and 2, not {severity}", do="1 is the site itself")
    if rows < _MINIMUM_ROWS or rows % 4:
        raise ConfigurationError(f"rows must be a multiple of 4 and at least {_MINIMUM_ROWS}, not {rows}")


def _produce(
    folder: Path, recipe: _Recipe, indices: list[int], workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    processes = min(workers or os.cpu_count() or 1, max(len(indices), 1))
    if processes == 1:
        for index in indices:
            yield index, _write_patient(folder, recipe, index)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        waiting = {pool.submit(_write_patient, folder, recipe, index): index for index in indices}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    threadpool_limits(1)


def _write_patient(folder: Path, recipe: _Recipe, index: int) -> dict[str, Any]:
    """Render and write both views of a patient; the part file, written last, says that they are complete."""
    site, acquisition = site_at(recipe.site, recipe.severity, recipe.shifts)
    patient = draw_patient(site, index, recipe.dataset_seed, recipe.difficulty)
    marked = recipe.skin_markers and patient.recorded == "malignant"
    part: dict[str, Any] = {"recipe": recipe.digest(), "files": {}, "manifest": [], "truth": []}
    for view in VIEWS:
        picture = render_view(
            patient, view, acquisition, rows=recipe.rows, difficulty=recipe.difficulty, skin_marker=marked
        )
        stem = f"{patient.identifier}_{patient.laterality}_{view}"
        files = {f"dicom/{stem}.dcm": encode(patient, view, picture, recipe.version, recipe.digest())}
        if patient.mass is not None:
            files[f"masks/{stem}.png"] = _png(picture)
        for name, data in files.items():
            _write_quickly(folder / name, data)
            part["files"][name] = hashlib.sha256(data).hexdigest()
        part["manifest"].append(_manifest_row(patient, site, view, picture, f"dicom/{stem}.dcm"))
        part["truth"].append(_truth_row(patient, view, f"masks/{stem}.png"))
    _write_quickly(_part_path(folder, index), json.dumps(part).encode())
    return part


def _part_path(folder: Path, index: int) -> Path:
    return folder / "parts" / f"{index:06d}.json"


def _read_part(folder: Path, recipe: _Recipe, index: int) -> dict[str, Any] | None:
    """The rows of a patient whose files are all there, undamaged and of the same recipe; otherwise None."""
    path = _part_path(folder, index)
    if not path.is_file():
        return None
    try:
        part: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        return None
    if part.get("recipe") != recipe.digest():
        return None
    for name, digest in part["files"].items():
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            return None
    return part


def _write_quickly(path: Path, data: bytes) -> None:
    """Write through a rename without syncing: what a power failure damages is found by its digest and made again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {path.name}: {error.strerror}", where=str(path), do="free some space and run again"
        ) from error


def _png(picture: View) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture.core.astype(np.uint8) * 255).save(stream, format="PNG")
    return stream.getvalue()


def _manifest_row(patient: Patient, site: SiteProfile, view: ViewName, picture: View, file: str) -> dict[str, Any]:
    boxes: list[dict[str, Any]] | None = []
    if picture.box is not None:
        x0, y0, x1, y1 = picture.box
        boxes = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": patient.recorded, "type": "mass"}]
    elif patient.recorded == "malignant":
        boxes = None  # a cancer in the records without a lesion in the picture: where it is, nobody wrote down
    return {
        "patient_id": patient.identifier,
        "exam_id": f"{patient.identifier}-1",
        "laterality": patient.laterality,
        "view": view,
        "file": file,
        "label": patient.recorded,
        "boxes": "" if boxes is None else json.dumps(boxes),
        "split": "",
        "device": site.device,
        "age": patient.age,
        "density": patient.density,
        "spacing_mm": f"{picture.spacing_mm:.6f}",
    }


def _truth_row(patient: Patient, view: ViewName, mask: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "patient_id": patient.identifier,
        "exam_id": f"{patient.identifier}-1",
        "laterality": patient.laterality,
        "view": view,
        "label": patient.label,
        "area_density": f"{patient.area_density:.3f}",
        "thickness_mm": f"{patient.thickness_mm:.1f}",
        "nipple_distance_mm": f"{patient.nipple_distance_mm:.1f}",
    }
    if patient.mass is not None:
        mass, place = patient.mass, patient.mass.place
        row |= {
            "z": f"{mass.z:.3f}",
            "radius_mm": f"{mass.radius_mm:.2f}",
            "depth": f"{place.depth:.3f}",
            "lateral": f"{place.lateral:.3f}",
            "vertical": f"{place.vertical:.3f}",
            "axis_ratio": f"{mass.axis_ratio:.3f}",
            "visibility": f"{mass.visibility:.3f}",
            "mask": mask,
        }
    return row


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
