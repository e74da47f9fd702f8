"""Writes case reports into the site's state folder, one sub-folder an exam, and a page that lists them.

Thousands of exams may be asked for: one is in memory at a time, what is finished stays finished however the program
ends, and the same call goes on from there.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources as package_files
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from pydicom.dataset import Dataset

from client.compute import choose
from client.evaluation import probabilities
from client.explanation.background import choose_background
from client.explanation.case.case import Case, CaseView, make_case, picture_name
from client.explanation.case.choice import Exam, exams, named, worst
from client.explanation.case.dicom import dicom_objects
from client.explanation.case.page import heat, per_cent, render
from client.explanation.case.reliability import Reliability
from client.explanation.case.sending import Archive, send
from client.explanation.case.shelf import Record, folder_name, put, record_in, records
from client.explanation.detected import Explained
from client.explanation.explainers import EXPLAINERS
from client.explanation.maps import Maps
from client.explanation.sanity import Explain
from client.inference import Logits, predict
from client.pictures import outline_boxes
from client.site import Site, load_site
from common import progress
from common.atomic import write_text
from common.configuration.naming import nearest
from common.data.dataset import SiteData
from common.errors import CaseError, UnreadableImageError
from common.imaging.box import Box
from common.locking import held
from common.models.published import PublishedModel
from common.page.style import style_sheet

REPORT, INDEX, DICOM, LOCK = "report.html", "index.html", "dicom", ".lock"
OPACITY = 0.7
INDEX_EVERY = 100
"""The index is renewed after so many reports, too, for who looks while a long call works."""
SHOWN = 10
"""Of the exams that could not be explained."""


def write_reports(
    site: Site,
    published: PublishedModel,
    methods: Sequence[str],
    wanted: Sequence[str],
    worst_exams: int,
    all_exams: bool = False,
    replace: bool = False,
    archive: Archive | None = None,
) -> Path:
    """Explain exams of a site; one that has a report of this model by these methods is left as it is.

    Args:
        site: whose exams.
        published: the model; it works on the GPU where there is one.
        methods: names of explainers; the first is shown first.
        wanted: exams, patients or image files.
        worst_exams: so many test exams that the model judged worst, too.
        all_exams: all others, too.
        replace: write finished reports anew.
        archive: where the DICOM objects of all these exams are sent to.

    Returns:
        The index of all reports of this model; they lie beside it in ``reports/cases/MODEL``.

    Raises:
        CaseError: nothing was asked for, there is no such exam or explainer, or an image is gone since it was
            prepared; the other exams' reports are written, and sent.
        ExplainerError: an explainer cannot explain this network.
        FederationStateError: another process writes reports of this model.
        SendingError: the archive does not take them; the reports are written.
        XaiFederationError: the site's data cannot be used, by name.
    """
    if not wanted and not worst_exams and not all_exams:
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
    chosen |= dict.fromkeys(exams(data) if all_exams else ())
    shelf = site.reports / "cases" / published.digest[:12]
    work = _Work(site, published, tuple(methods), data, logits, shelf)
    with held(shelf / LOCK, "explain with this model"):
        failed = work.write([exam for exam in chosen if replace or not work.is_finished(exam)], len(chosen))
        work.write_index(chosen)
    if archive is not None:
        files = [file for exam in chosen for file in sorted((shelf / folder_name(exam) / DICOM).glob("*.dcm"))]
        number = send(files, archive)
        progress.say(f"{number} DICOM objects sent to {archive.host}:{archive.port}/{archive.title}")
    if failed:
        first, error = next(iter(failed.items()))
        raise CaseError(
            f"{len(failed)} of {len(chosen)} exams could not be explained, first {first.exam_id or first.patient_id}: "
            f"{error.what}",
            where=error.where,
            do="restore the images, then give the same command again; the other reports are finished",
        )
    return shelf / INDEX


class _Work:
    """Reports of one model by the same methods."""

    def __init__(
        self,
        site: Site,
        published: PublishedModel,
        methods: tuple[str, ...],
        data: SiteData,
        logits: Logits,
        shelf: Path,
    ) -> None:
        self.site, self.published, self.methods = site, published, methods
        self.data, self.logits, self.shelf = data, logits, shelf

    def is_finished(self, exam: Exam) -> bool:
        """Whether the report is there and says what it would say now."""
        record = record_in(self.shelf / folder_name(exam))
        return record is not None and record.is_of(self.published.digest, self.methods)

    def write(self, missing: Sequence[Exam], asked: int) -> Mapping[Exam, UnreadableImageError]:
        """Write reports; exams that could not be explained, because an image is gone, are returned with the reason."""
        failed: dict[Exam, UnreadableImageError] = {}
        if len(missing) < asked:
            progress.say(f"{self.site.name}: {asked - len(missing)} of {asked} reports are finished already")
        if not missing:
            return failed
        model, task = self.published.model, self.published.task
        background = choose_background(self.data.of_split("train"), task.evaluation.background, seed=0)
        explainers = {method: _explainer(method, background) for method in self.methods}
        model.to(choose(task.training).device)
        try:
            with progress.track(f"{self.site.name}: case reports", len(missing)) as advance:
                for number, exam in enumerate(missing, 1):
                    try:
                        case = make_case(self.published, explainers, self.data, exam, seed=0)
                        put(self.shelf, folder_name(exam), self._files(case), self._record(exam))
                    except UnreadableImageError as error:
                        failed[exam] = error
                        if len(failed) <= SHOWN:
                            progress.say(f"no report of {exam.exam_id or exam.patient_id}: {error}")
                    if number % INDEX_EVERY == 0:
                        self.write_index(())
                    advance(1)
        finally:
            model.to("cpu")
        return failed

    def _files(self, case: Case) -> Iterator[tuple[str, bytes]]:
        """All files of a report; one DICOM object is in memory at a time."""
        first = self.methods[0]
        pictures = _pictures(case, first)
        for name, picture in pictures.items():
            yield f"{name}.png", picture
        others = reliability_without(case.patient_id, self.data, self.logits, self.published)
        for made in dicom_objects(case, self.published, first, pictures, others):
            yield f"{DICOM}/{made.name}", _file(made.dataset)
        yield REPORT, render(case, self.site.name, self.published, others, self.methods).encode()

    def _record(self, exam: Exam) -> Record:
        chances = _chances(self.logits[list(exam.breasts)], self.published)
        breasts = [self.data.breasts[index] for index in exam.breasts]
        labels = ", ".join(f"{breast.laterality} {breast.label}" for breast in breasts)
        highest = float(chances.max())
        return Record(exam.patient_id, exam.exam_id, labels, highest, self.published.digest, self.methods)

    def write_index(self, first: Iterable[Exam]) -> None:
        """List all finished reports of the model, these first."""
        found = records(self.shelf)
        names = [name for exam in first if (name := folder_name(exam)) in found]
        ordered = dict.fromkeys([*names, *found])
        write_text(self.shelf / INDEX, _index(self.site.name, {name: found[name] for name in ordered}))


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


def _index(site: str, lines: Mapping[str, Record]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["per_cent"] = per_cent
    template = (package_files.files("client.explanation.case") / "index.html.j2").read_text(encoding="utf-8")
    css = Markup(style_sheet())  # our own file, raw text inside a style element
    return environment.from_string(template).render(site=site, lines=lines, css=css, report=REPORT)
