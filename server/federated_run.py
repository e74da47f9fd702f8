"""What the round loop works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flwr.serverapp import Grid

from common.configuration import RunConfig


@dataclass
class Federation:
    """What the loop works with; nothing in it changes from round to round.

    ``trained`` names the parameters proper that all sites have in common: server optimisers move these, and plainly
    average the rest. ``relative_rates`` says by what factor of the round's learning rate each of them learns; only
    control variates need it. ``identity`` tells the run from every other.
    """

    grid: Grid
    config: RunConfig
    folder: Path
    trained: frozenset[str]
    relative_rates: Mapping[str, float] = field(default_factory=dict)
    identity: str = ""

    @property
    def history_file(self) -> Path:
        """``rounds.jsonl`` of the run folder."""
        return self.folder / "rounds.jsonl"
