"""Which engines do not answer, told to the state and the log once per change."""

from __future__ import annotations

from trailseal.event_consumer.state import PipelineState
from trailseal.telemetry import logger


class Troubles:
    """Engines that fail at the moment. Used by the poll thread only."""

    def __init__(self, state: PipelineState) -> None:
        self._state = state
        self._open: dict[str, str] = {}

    def begin(self, engine: str, why: str) -> None:
        """The engine did not do what it was asked; it is asked again."""
        if engine not in self._open:
            logger("event_consumer").warning("engine_fails", engine=engine, why=why)
        if self._open.get(engine) != why:
            self._open[engine] = why
            self._state.update(phase="retrying", detail=f"The {engine} does not answer as it should: {why}")

    def over(self, *engines: str) -> None:
        """These engines do what they are asked again."""
        for engine in engines:
            if self._open.pop(engine, None) is not None:
                logger("event_consumer").info("engine_works_again", engine=engine)
                if not self._open:
                    self._state.update(phase="running", detail=None)
