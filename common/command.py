"""What all three commands share: progress on the terminal, named errors with their exit codes."""

from __future__ import annotations

from collections.abc import Callable

import typer

from common.errors import XaiFederationError
from common.progress import shown_by
from common.terminal import reporter

STOPPED = 130


def guarded(work: Callable[[], str], when_stopped: str, progress_aside: bool = False) -> None:
    """Run a command's work and print the text it returns, if any.

    A named error prints what was wrong and what to do, and sets its exit code; Ctrl-C prints
    ``when_stopped`` and ends with 130. ``progress_aside`` shows progress on standard error.
    """
    try:
        with reporter(progress_aside) as shown, shown_by(shown):
            ending = work()
    except XaiFederationError as error:
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        typer.secho(when_stopped, err=True)
        raise typer.Exit(STOPPED) from error
    if ending:
        typer.echo(ending)
