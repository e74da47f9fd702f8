"""What ``xai-server train``, ``show`` and ``runs`` print about runs; read from the run folders alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from common import errors
from common.configuration import RunConfig, read_run
from common.locking import is_held
from server.federation.home import FederationHome
from server.federation.runs import CONFIG, OPEN, PROGRESS, Run, State
from server.history import RoundRecord, SiteTraining, read_history

POLL_SECONDS = 0.5
_ROUND = re.compile(r"  round (\d+)/(\d+)  ")


def follow(home: FederationHome, run: Run) -> Iterator[str]:
    """Yield lines as they come until the run ends, or the server that works on it does."""
    shown = 0
    number = run.order.number
    while True:
        state = run.state
        ended = state.order >= number and state.state not in OPEN
        lines = _lines(run)
        for line in lines[shown:]:
            yield line
            yield from _after(run, line)
        shown = len(lines)
        if ended:
            yield ending(run, state)
            return
        if not is_held(home.lock):
            yield f"the server is not running; run {run.name} goes on when it is started again"
            return
        time.sleep(POLL_SECONDS)


def _after(run: Run, line: str) -> Iterator[str]:
    """What is added to a run's own line: after the end of a round its sites, and the time left."""
    found = _ROUND.search(line)
    if not found:
        return
    records = read_history(run.folder / "rounds.jsonl")[: int(found[1])]
    if len(records) == int(found[1]):
        yield from table(records[-1])
        yield time_left(records, int(found[2]))


def _lines(run: Run) -> list[str]:
    """Complete lines of the run's progress."""
    path = run.folder / PROGRESS
    return path.read_text().split("\n")[:-1] if path.exists() else []


def table(record: RoundRecord) -> Iterator[str]:
    """One line a site: what it trained on, its update, how the new model does there, or why it took no part."""
    for name, site in record.train.items():
        seen = record.validation.get(name)
        auc = "-" if seen is None or seen.auc is None else f"{seen.auc:.3f}"
        froc = "" if seen is None or seen.froc is None else f"  FROC {seen.froc:.3f}"
        yield (
            f"    {name:12} {site.patients:5} patients  loss {site.loss:.3f}  update {site.update_norm:.3g}"
            f"  weight {site.weight:.2f}  AUC {auc}{froc}{_spent(site)}  {site.seconds:.0f} s"
        )
    for item in record.quarantined:
        yield f"    {item.site:12} not used: {item.error}: {item.meaning}"
    for name in record.missing:
        yield f"    {name:12} no reply in time; welcome in the next round"


def _spent(site: SiteTraining) -> str:
    """What the run has cost the site's patients, where they are protected."""
    return f"  epsilon {site.privacy.epsilon:.2f}" if site.privacy else ""


def time_left(records: list[RoundRecord], rounds: int) -> str:
    """How long the remaining rounds will take at the mean pace so far."""
    pace = sum(record.seconds for record in records) / len(records)
    left = (rounds - len(records)) * pace
    return f"    about {left / 60:.0f} min left" if left >= 60 else f"    about {left:.0f} s left"


def ending(run: Run, state: State) -> str:
    """The last line about a run."""
    if state.state == "finished":
        return f"run {run.name} is finished; {'page' if run.is_survey else 'report'}: {run.page}"
    go_on = f"; go on with: xai-server resume {run.name}" if state.state != "failed" or run.rounds_done else ""
    return f"run {run.name}: {state.state}{f': {state.reason}' if state.reason else ''}{go_on}"


def exit_code(run: Run) -> int:
    """What a command that followed the run ends with: 0, or the code of the error that paused or failed it."""
    if run.state.state not in ("paused", "failed"):
        return 0
    failure = run.failure()
    error = getattr(errors, failure.error, None) if failure else None
    return int(error.exit_code) if error else errors.RunStateError.exit_code


def overview(run: Run) -> str:
    """One line of ``xai-server runs``."""
    config: RunConfig = read_run(run.folder / CONFIG)
    state = run.state
    word = state.state if state.order >= run.order.number else f"{run.order.wanted} ordered"
    reason = f"  ({state.reason})" if state.reason else ""
    if run.is_survey:
        return f"{run.name:20} {word:10} shift of  {', '.join([*config.sites, *config.unseen])}{reason}"
    return (
        f"{run.name:20} {word:10} round {run.rounds_done} of {config.federation.rounds}  "
        f"{config.method.name}  {', '.join(config.sites)}{reason}"
    )


def tail(run: Run, lines: int = 12) -> list[str]:
    """The last lines of the run's progress."""
    return _lines(run)[-lines:]
