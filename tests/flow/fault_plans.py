"""Wrappers over ports that kill their own process before or after the n-th call of a step."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

STEPS = {
    "log": ("append", "commit", "seek"),
    "ledger": ("keep", "advance", "open_partition", "register_log"),
    "index": ("put", "flush", "refresh", "begin_rebuild", "mark_complete"),
    "cache": ("renew",),
}


@dataclass
class Plan:
    """Kill at the ``nth`` call (from 1) of ``step``; a step of None only counts."""

    step: str | None = None
    nth: int = 0
    after: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reached(self, step: str) -> bool:
        """Count one call; whether it is the one."""
        with self.lock:
            self.calls[step] += 1
            return step == self.step and self.calls[step] == self.nth


class Deadly:
    """Passes every call on to an engine; calls that are steps of the plan may be its last."""

    def __init__(self, engine: Any, part: str, plan: Plan) -> None:
        self._engine, self._part, self._plan = engine, part, plan

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name == "subscribe":
            return lambda group: Deadly(found(group), self._part, self._plan)
        if name not in STEPS[self._part]:
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            now = self._plan.reached(name)
            if now and not self._plan.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = found(*arguments, **options)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call
