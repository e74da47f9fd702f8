"""Writes case reports into the site's state folder, one sub-folder an exam, and a page that lists them.

Thousands of exams may be asked for: one is in memory at a time, what is finished stays finished however the program
ends, and the same call goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources as package_files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from client.compute import choose
from client.explanation.case.choice import Exam, exams, named
from client.explanation.case.classifier_reader import ClassifierReader
from client.explanation.case.detector_reader import DetectorReader
from client.explanation.case.page import per_cent
from client.explanation.case.reader import DICOM, REPORT, Reader, require_known
from client.explanation.case.sending import Archive, send
from client.explanation.case.shelf import Record, folder_name, put, record_in, records
from client.site import Site
from common import progress
from common.atomic import write_text
from common.errors import CaseError, UnreadableImageError
from common.locking import held
from common.models.published import PublishedDetector, PublishedModel
from common.page.style import style_sheet

INDEX, LOCK = "index.html", ".lock"
INDEX_EVERY = 100
"""The index is renewed after so many reports, too, for who looks while a long call works."""
SHOWN = 10
"""Of the exams that could not be explained."""


def open_reader(
    site: Site, published: PublishedModel | PublishedDetector, methods: Sequence[str], false_marks: float | None
) -> Reader:
    """Let a model read all exams of a site.

    Args:
        site: whose exams.
        published: the model.
        methods: names of explainers; empty for those that suit the model.
        false_marks: of a detector: so many an image, at most, at the score from which on marks are shown; None for
            its default.

    Raises:
        CaseError: there is no such explainer, the rate is no number, or a classifier is asked for marks.
        ExplainerError: a method cannot explain a detector.
        XaiFederationError: the site's data cannot be used, by name.
    """
    require_known(methods)
    if false_marks is not None and not math.isfinite(false_marks):
        raise CaseError(
            f"{false_marks} marks an image are no rate", where="--false-marks", do="give a number, such as 1"
        )
    if isinstance(published, PublishedDetector):
        return DetectorReader(site, published, methods, false_marks)
    if false_marks is not None:
        raise CaseError("a classifier makes no marks", where="--false-marks", do="leave it out: this model is one")
    return ClassifierReader(site, published, methods)


def write_reports(
    site: Site,
    published: PublishedModel | PublishedDetector,
    methods: Sequence[str],
    wanted: Sequence[str],
    worst_exams: int,
    all_exams: bool = False,
    replace: bool = False,
    archive: Archive | None = None,
    false_marks: float | None = None,
) -> Path:
    """Explain exams of a site; one that has a report of this model by these methods is left as it is.

    Args:
        site: whose exams.
        published: the model; it works on the GPU where there is one.
        methods: names of explainers, the first is shown first; empty for those that suit the model.
        wanted: exams, patients or image files.
        worst_exams: so many test exams that the model judged worst, too.
        all_exams: all others, too.
        replace: write finished reports anew.
        archive: where the DICOM objects of all these exams are sent to.
        false_marks: of a detector, see :func:`open_reader`.

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
    reader = open_reader(site, published, methods, false_marks)
    chosen = dict.fromkeys(named(reader.data, wanted))
    chosen |= dict.fromkeys(reader.worst(worst_exams) if worst_exams else ())
    chosen |= dict.fromkeys(exams(reader.data) if all_exams else ())
    shelf = site.reports / "cases" / published.digest[:12]
    work = _Work(site, reader, shelf)
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

    def __init__(self, site: Site, reader: Reader, shelf: Path) -> None:
        self.site, self.reader, self.shelf = site, reader, shelf

    def is_finished(self, exam: Exam) -> bool:
        """Whether the report is there and says what it would say now."""
        record = record_in(self.shelf / folder_name(exam))
        would = self.reader.record(exam)
        return record is not None and record.is_of(would.model, would.methods, would.false_marks)

    def write(self, missing: Sequence[Exam], asked: int) -> Mapping[Exam, UnreadableImageError]:
        """Write reports; exams that could not be explained, because an image is gone, are returned with the reason."""
        failed: dict[Exam, UnreadableImageError] = {}
        if len(missing) < asked:
            progress.say(f"{self.site.name}: {asked - len(missing)} of {asked} reports are finished already")
        if not missing:
            return failed
        model, task = self.reader.published.model, self.reader.published.task
        model.to(choose(task.training).device)
        try:
            with progress.track(f"{self.site.name}: case reports", len(missing)) as advance:
                for number, exam in enumerate(missing, 1):
                    try:
                        put(self.shelf, folder_name(exam), self.reader.report(exam), self.reader.record(exam))
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

    def write_index(self, first: Iterable[Exam]) -> None:
        """List all finished reports of the model, these first."""
        found = records(self.shelf)
        names = [name for exam in first if (name := folder_name(exam)) in found]
        ordered = dict.fromkeys([*names, *found])
        write_text(self.shelf / INDEX, _index(self.site.name, {name: found[name] for name in ordered}))


def _index(site: str, lines: Mapping[str, Record]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["per_cent"] = per_cent
    template = (package_files.files("client.explanation.case") / "index.html.j2").read_text(encoding="utf-8")
    css = Markup(style_sheet())  # our own file, raw text inside a style element
    marked = any(line.marks is not None for line in lines.values())
    return environment.from_string(template).render(site=site, lines=lines, css=css, report=REPORT, marked=marked)
