"""Writes case reports into the site's state folder, one sub-folder an exam, and a page that lists them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources as package_files
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from pydicom.dataset import Dataset

from client.evaluation import probabilities
from client.explanation.background import choose_background
from client.explanation.case.case import Case, CaseView, make_case, picture_name
from client.explanation.case.choice import Exam, named, worst
from client.explanation.case.dicom import dicom_objects
from client.explanation.case.page import heat, per_cent, render
from client.explanation.case.reliability import Reliability
from client.explanation.case.sending import Archive, send
from client.explanation.detected import Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.maps import Maps
from client.explanation.sanity import Explain
from client.inference import Logits, predict
from client.pictures import outline_boxes
from client.site import Site, load_site
from common import progress
from common.atomic import write_bytes, write_text
from common.configuration.naming import nearest
from common.data.dataset import SiteData
from common.errors import CaseError
from common.imaging.box import Box
from common.models.published import PublishedModel
from common.page.style import style_sheet

REPORT, INDEX, DICOM = "report.html", "index.html", "dicom"
OPACITY = 0.7


@dataclass(frozen=True)
class Listed:
    """A line of the index."""

    folder: str
    exam: Exam
    probability: float
    labels: str


def write_reports(
    site: Site,
    published: PublishedModel,
    methods: Sequence[str],
    wanted: Sequence[str],
    worst_exams: int,
    replace: bool = False,
    archive: Archive | None = None,
) -> Path:
    """Explain exams of a site; one that has a report of this model already is left as it is.

    Args:
        site: whose exams.
        published: the model.
        methods: names of explainers; the first is shown first.
        wanted: exams, patients or image files.
        worst_exams: so many test exams that the model judged worst, too.
        replace: write finished reports anew.
        archive: where the DICOM objects of all these exams are sent to.

    Returns:
        The index; reports lie beside it in ``reports/cases/MODEL``.

    Raises:
        CaseError: nothing was asked for, or there is no such exam or explainer.
        ExplainerError: an explainer cannot explain this network.
        SendingError: the archive does not take them; the reports are written.
        XaiFederationError: the site's data cannot be used, by name.
    """
    if not wanted and not worst_exams:
        raise CaseError("which exams?", where="command line", do="name exams, patients or images, or give --worst 20")
    for method in methods:
        if method not in EXPLAINERS:
            guess = nearest(method, list(EXPLAINERS))
            raise CaseError(
                f"there is no explainer '{method}'",
                where="--method",
                do=(f"did you mean '{guess}'? " if guess else "") + f"known: {', '.join(EXPLAINERS)}",
            )
    data = load_site(site, published.task)
    logits = predict(published.model, data, published.task.training, f"{site.name}: scores")
    chosen = dict.fromkeys(named(data, wanted))
    chosen |= dict.fromkeys(worst(data, logits, worst_exams) if worst_exams else ())
    folder = site.reports / "cases" / published.digest[:12]
    background = choose_background(data.of_split("train"), published.task.evaluation.background, seed=0)
    explainers = {method: _explainer(method, background) for method in methods}
    with progress.track(f"{site.name}: case reports", len(chosen)) as advance:
        for exam in chosen:
            place = folder / _folder_name(exam)
            if replace or not (place / REPORT).exists():
                case = make_case(published, explainers, data, exam, seed=0)
                pictures = _pictures(case, methods[0])
                for name, picture in pictures.items():
                    write_bytes(place / f"{name}.png", picture)
                others = reliability_without(exam.patient_id, data, logits, published)
                for made in dicom_objects(case, published, methods[0], pictures, others):
                    write_bytes(place / DICOM / made.name, _file(made.dataset))
                write_text(place / REPORT, render(case, site.name, published, others, tuple(explainers)))
            advance(1)
    lines = [_listed(exam, data, logits, published) for exam in chosen]
    write_text(folder / INDEX, _index(site.name, lines))
    if archive is not None:
        files = [file for exam in chosen for file in sorted((folder / _folder_name(exam) / DICOM).glob("*.dcm"))]
        number = send(files, archive)
        progress.say(f"{number} DICOM objects sent to {archive.host}:{archive.port}/{archive.title}")
    return folder / INDEX


def _explainer(method: str, background: torch.Tensor) -> Explain:
    def explain(model: Explained, images: torch.Tensor) -> Maps:
        return EXPLAINERS[method](model, images, background).maps

    return explain


def _chances(logits: Logits, published: PublishedModel) -> Logits:
    return probabilities(logits + published.prior_log_odds)


def reliability_without(patient: str, data: SiteData, logits: Logits, published: PublishedModel) -> Reliability:
    """Scores of the site's test patients but one: what happened to herself must not speak for her score."""
    tested = np.array([breast.split == "test" and breast.patient_id != patient for breast in data.breasts])
    chances, malignant = _chances(logits, published), data.targets == 1
    return Reliability(chances[tested & malignant], chances[tested & ~malignant])


def _folder_name(exam: Exam) -> str:
    """A plain name for any identifier, different for different exams."""
    full = f"{exam.patient_id}/{exam.exam_id}"
    plain = re.sub(r"[^A-Za-z0-9]+", "-", exam.exam_id or exam.patient_id).strip("-")[:40]
    return f"{plain or 'exam'}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def _pictures(case: Case, method: str) -> dict[str, bytes]:
    """A PNG of each view by name: the original beside itself with the map and the doctors' boxes."""
    found = {}
    for item in case.breasts:
        scale = max(float(view.maps[method].max()) for view in item.views)
        for number, view in enumerate(item.views, 1):
            found[picture_name(item, number)] = _picture(view, method, scale)
    return found


def _file(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _picture(view: CaseView, method: str, scale: float) -> bytes:
    grey = Image.fromarray((255.0 * view.grey + 0.5).astype(np.uint8)).convert("RGB")
    warm = heat(view.maps[method], scale)
    warm[..., 3] = (OPACITY * warm[..., 3]).astype(np.uint8)
    over = grey.copy()
    over.paste(Image.fromarray(warm, "RGBA"), (0, 0), Image.fromarray(warm[..., 3]))
    outline_boxes(over, [Box(*corners) for corners in view.boxes or ()], 1.0)
    both = Image.new("RGB", (2 * grey.width, grey.height))
    both.paste(grey, (0, 0))
    both.paste(over, (grey.width, 0))
    stream = io.BytesIO()
    both.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _listed(exam: Exam, data: SiteData, logits: Logits, published: PublishedModel) -> Listed:
    chances = _chances(logits[list(exam.breasts)], published)
    labels = ", ".join(f"{data.breasts[index].laterality} {data.breasts[index].label}" for index in exam.breasts)
    return Listed(_folder_name(exam), exam, float(chances.max()), labels)


def _index(site: str, lines: Sequence[Listed]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["per_cent"] = per_cent
    template = (package_files.files("client.explanation.case") / "index.html.j2").read_text(encoding="utf-8")
    css = Markup(style_sheet())  # our own file, raw text inside a style element
    return environment.from_string(template).render(site=site, lines=lines, css=css, report=REPORT)
