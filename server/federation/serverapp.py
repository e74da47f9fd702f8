"""The ServerApp as the SuperLink runs it: the same ``server.app.run`` as in a simulation, with its words on file."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import HttpGrid

from common.atomic import write_text
from common.configuration import RunConfig, read_run
from common.errors import ConfigurationError, StorageError, XaiFederationError
from common.locking import held
from common.models.network import build_network
from common.models.published import read_published
from common.packing import packed_size
from common.progress import shown_by
from common.waiting import look_often
from server.app import run
from server.federation.bounded_grid import BoundedGrid
from server.federation.runs import CONFIG, FAILURE, LOCK, PROGRESS, SURVEY_MODEL, Failure, Run
from server.shift.comparing import compare_connected

logger = logging.getLogger("xai_federation.serverapp")

PATIENCE_SECONDS = 120.0

app = ServerApp()


class FileReporter:
    """Lines with the time to a file that ``xai-server train`` and ``show`` read; no bars."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, line: str) -> None:
        """Add the line; when the disk is full the run goes on without it, and ends at its next checkpoint."""
        try:
            with self._path.open("a") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        except OSError as error:
            logger.error("cannot write %s (%s): %s", self._path, error.strerror, line)

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Counted work is not shown: the lines of the rounds tell how far it is."""
        del description, total
        return lambda _: None

    def finish(self, description: str) -> None:
        """Nothing was shown."""


def largest_reply(config: RunConfig) -> int:
    """Bytes of the largest array that a site may answer with: an update holds no more than the model."""
    return packed_size(build_network(config, seed=0).state_dict())


def work(grid: HttpGrid, ordered: Run) -> None:
    """Do what was ordered: a federation, or a look at the shift between its sites, who then answer with texts alone.

    Raises:
        XaiFederationError: by name.
    """
    config = read_run(ordered.folder / CONFIG)
    if not ordered.is_survey:
        run(BoundedGrid(grid, largest_reply(config)), ordered.folder)
        return
    model = ordered.folder / SURVEY_MODEL
    published = read_published(model) if model.exists() else None
    compare_connected(BoundedGrid(grid, 0), config, published, ordered.folder)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run or resume the federation in ``run-folder``; a named error is written there as ``failure.json``."""
    folder = context.run_config.get("run-folder")
    if not isinstance(folder, str) or not folder:
        raise ConfigurationError("the run configuration lacks 'run-folder'", do="start runs through xai-server train")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    look_often()
    place = Path(folder)
    assert isinstance(grid, HttpGrid)  # what Flower's runner makes
    try:
        # an earlier attempt that was told to stop may still be about to: two must never write one folder
        with held(place / LOCK, "this run", PATIENCE_SECONDS), shown_by(FileReporter(place / PROGRESS)):
            (place / FAILURE).unlink(missing_ok=True)
            work(grid, Run(place.name, place))
    except XaiFederationError as error:
        failure = Failure(type(error).__name__, error.what, error.where, error.do)
        with contextlib.suppress(StorageError):  # a full disk: the run is begun again without a word
            write_text(place / FAILURE, json.dumps(failure.__dict__, indent=1))
        raise
