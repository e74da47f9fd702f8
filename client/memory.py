"""What a site keeps of a run from round to round, in ``methods/RUN`` of its state folder: one file a round.

Files are written atomically and named by run and round. The coordinator says which round goes on from
which, so a round that is repeated after a kill begins where it began the first time, and a round whose reply
was not accepted is forgotten.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from client.site import Site
from common.atomic import write_bytes
from common.errors import SiteStateError, WireError
from common.packing import Tensors, from_bytes, to_bytes

KEPT_RUNS = 20
"""Runs of which something is kept; what was not used for longest goes."""
KEPT_ROUNDS = 2
"""Rounds before the present one whose state is kept in any case: a damaged checkpoint takes a run back by one."""
_RUN = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"round-(\d{4,})\.safetensors")


def read(site: Site, run: str, number: int) -> Tensors:
    """What the site kept after round ``number`` of ``run``; nothing for round 0.

    Raises:
        SiteStateError: it is missing or damaged.
        WireError: ``run`` is no identity of a run, or ``number`` of a round.
    """
    if number == 0:
        return {}
    path = _path(site, run, number)
    try:
        return from_bytes(path.read_bytes())[0]
    except (OSError, WireError) as error:
        raise SiteStateError(
            f"what {site.name} kept of round {number} cannot be read: {error}",
            where=str(path),
            do="restore the site's state folder from a backup, or begin a new run",
        ) from error


def write(site: Site, run: str, number: int, tensors: Tensors, keep: set[int]) -> None:
    """Keep ``tensors`` as the state after round ``number``; older rounds go, except ``keep`` and the last few.

    Raises:
        StorageError: disk full or no permission; what was kept before is intact.
        WireError: ``run`` is no identity of a run, or ``number`` of a round.
    """
    path = _path(site, run, number)
    write_bytes(path, to_bytes(tensors))
    matches = (_FILE.fullmatch(file.name) for file in path.parent.iterdir())
    rounds = sorted(int(match[1]) for match in matches if match)
    earlier = [other for other in rounds if other < number]
    wanted = {number, *keep, *earlier[-KEPT_ROUNDS:]}
    for other in rounds:
        if other not in wanted:
            _path(site, run, other).unlink(missing_ok=True)
    _forget_old_runs(path.parent)


def amend(site: Site, run: str, number: int, tensors: Tensors) -> None:
    """Keep ``tensors`` as the state after round ``number`` in place of what is there; all other rounds stay.

    Raises:
        StorageError, WireError: as :func:`write`.
    """
    write_bytes(_path(site, run, number), to_bytes(tensors))


def _path(site: Site, run: str, number: int) -> Path:
    if not _RUN.fullmatch(run):  # it becomes the name of a folder
        raise WireError("the identity of the run is not 32 hexadecimal digits")
    if number < 1:
        raise WireError(f"there is no round {number}")
    return site.state / "methods" / run / f"round-{number:04d}.safetensors"


def _forget_old_runs(present: Path) -> None:
    others = [folder for folder in present.parent.iterdir() if folder.is_dir() and folder != present]
    others.sort(key=lambda folder: folder.stat().st_mtime_ns)
    for folder in others[: max(0, len(others) + 1 - KEPT_RUNS)]:
        shutil.rmtree(folder, ignore_errors=True)
