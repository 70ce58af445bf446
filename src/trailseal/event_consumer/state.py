"""What the pipeline is doing, for `/readyz`, metrics and terminals."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

Phase = Literal["starting", "waiting", "rebuilding", "running", "retrying", "stopped"]


@dataclass(frozen=True, slots=True)
class PipelineSnapshot:
    """One moment of the pipeline.

    Attributes:
        phase: ``waiting`` = another process runs the pipeline; ``retrying`` = an engine does not answer;
            ``stopped`` = it will not go on by itself, ``detail`` says why and what to do.
        detail: one sentence for an operator, without event contents, or None.
        progress_at: monotonic seconds of the last head movement or of the last time nothing was pending.
        rebuilt: records put back so far while ``rebuilding``.
        rebuild_total: how many there are to put back.
        dead_letters: dead letters since the start of this process.
        degraded: one sentence while events go in but an operator should look, else None.
    """

    phase: Phase = "starting"
    detail: str | None = None
    progress_at: float = 0.0
    rebuilt: int = 0
    rebuild_total: int = 0
    dead_letters: int = 0
    degraded: str | None = None


class PipelineState:
    """The latest snapshot, replaced as a whole; any thread may read it at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = PipelineSnapshot()

    @property
    def snapshot(self) -> PipelineSnapshot:
        """The latest moment."""
        return self._snapshot

    def update(self, **changes: Any) -> None:
        """Replace the named attributes of the snapshot."""
        with self._lock:
            self._snapshot = replace(self._snapshot, **changes)
