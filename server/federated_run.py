"""What the round loop works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from flwr.serverapp import Grid

from common.configuration import RunConfig
from common.entropy import Entropy
from server.history import Quarantined


@dataclass
class Federation:
    """What the loop works with; nothing in it changes from round to round.

    ``trained`` names the parameters proper that all sites have in common: server optimisers move these, and plainly
    average the rest. ``relative_rates`` says by what factor of the round's learning rate each of them learns; only
    control variates need it. ``identity`` tells the run from every other, also in the sites' privacy ledgers.
    """

    grid: Grid
    config: RunConfig
    folder: Path
    trained: frozenset[str]
    relative_rates: Mapping[str, float] = field(default_factory=dict)
    identity: str = ""
    left_out: list[Quarantined] = field(default_factory=list)
    """Sites whose policy forbids the run: they are not asked to train."""
    normal: Callable[[int], torch.Tensor] = field(default_factory=lambda: Entropy().normal)
    """Source of the noise at the server."""

    @property
    def history_file(self) -> Path:
        """``rounds.jsonl`` of the run folder."""
        return self.folder / "rounds.jsonl"
