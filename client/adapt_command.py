"""``xai-client adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.chosen import Chosen
from common.command import guarded


def adapt(
    context: typer.Context,
    model: Annotated[Path, typer.Option(help="The run's model.safetensors.")] = Path("model.safetensors"),
    data: Annotated[
        Path | None, typer.Option(help="Folder with manifest.csv, or a CSV file. Default: the site's data folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: in models/ of the state folder.")] = None,
) -> None:
    """Fit a published model to this site's scanners: batch norm statistics of its own images. No label is needed.

    For a site that never trained. Labels in the manifest may be empty; where test patients have some, the AUC before
    and after is shown. The model that was given is left as it is.

    Examples:

        xai-client --site NEW adapt --model model.safetensors

        xai-client --site NEW adapt --model model.safetensors --data export/2025.csv --out adapted.safetensors
    """
    chosen: Chosen = context.obj

    def work() -> str:
        from client.adaptation import adapt as fit
        from client.adaptation import describe
        from common.models.published import read_published

        return describe(fit(chosen.on_disk(data), read_published(model), model, out))

    guarded(work, "stopped; an earlier adapted model is as it was")


def register(app: typer.Typer) -> None:
    """Put the command onto ``xai-client``."""
    app.command()(adapt)
