"""``xai-client explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.chosen import Chosen
from common.command import guarded


def explain(
    context: typer.Context,
    exams: Annotated[
        list[str] | None, typer.Argument(help="Exams or patients by the manifest's names, or image files.")
    ] = None,
    model: Annotated[Path, typer.Option(help="The run's model.safetensors.")] = Path("model.safetensors"),
    worst: Annotated[int, typer.Option(min=0, help="Also so many test exams that the model judged worst.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="All exams of the site, after those.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder with manifest.csv, or a CSV file. Default: the site's data folder.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Explainer, may be repeated; the first is shown first. Default: hirescam, gradcam, shap; of a "
            "detector hirescam, layercam, gradcam.",
        ),
    ] = None,
    false_marks: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Of a detector: show marks from the score on that lets so many false ones an image through on this "
            "site's other test patients. Default: 0.5.",
        ),
    ] = None,
    send: Annotated[
        str | None, typer.Option(help="Also send the DICOM objects to an archive (C-STORE), `host:port/TITLE`.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write reports anew that are there already.")] = False,
) -> None:
    """Write case reports: what a model says of an exam, where it looked or what it marked, what would change its mind.

    Pages, pictures and DICOM objects (Secondary Capture, Segmentation, Presentation State, Structured Reports) go to
    reports/cases in the site's state folder and nowhere else, unless you --send the objects to your own archive. An
    interrupted call, killed or not, goes on where it stopped.

    Examples:

        xai-client --site TUH explain --model runs/demo/model.safetensors --worst 20

        xai-client --site TUH explain E0012 E0047 --model model.safetensors --method layercam --method shap

        xai-client --site TUH explain --all --model model.safetensors --method hirescam

        xai-client --site TUH explain E0012 --model model.safetensors --send pacs.local:104/ARCHIVE

        xai-client --site TUH explain --model detector.safetensors --worst 20 --false-marks 1
    """
    chosen: Chosen = context.obj

    def work() -> str:
        from client.explanation.case.reports import write_reports
        from client.explanation.case.sending import parse_archive
        from common.models.published import read_any_published

        published = read_any_published(model)
        archive = parse_archive(send) if send else None
        site = chosen.on_disk(data)
        asked = (methods or [], exams or [], worst, every, replace)
        index = write_reports(site, published, *asked, archive, false_marks)
        return f"reports: {index}"

    guarded(work, "stopped; finished reports are kept, the same call goes on from there")


def register(app: typer.Typer) -> None:
    """Put the command onto ``xai-client``."""
    app.command()(explain)
