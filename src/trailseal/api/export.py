"""``GET /events/export``: everything that matches as a stream of NDJSON or CSV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from threading import BoundedSemaphore
from typing import Final

from flask import Flask, Response, request

from trailseal.api.gate import principal_of
from trailseal.api.services import Services
from trailseal.errors import InvalidQuery, Overloaded, Problem, TrailsealError
from trailseal.query.export import EXPORT_FORMATS, Export, Lines, begin_export, lines_of
from trailseal.query.parsing import WHOLE, parse_parameters, split_query_string
from trailseal.query.question import Question
from trailseal.telemetry import logger

AT_ONCE: Final = 4
"""Exports one process streams at the same time: each holds one of its threads for as long as its client reads."""
_RETRY_AFTER_S: Final = 10.0


def install_export(app: Flask, services: Services) -> None:
    """Add the route."""
    places = BoundedSemaphore(AT_ONCE)

    @app.get("/events/export")
    def export() -> Response:
        principal = principal_of(request.environ)
        principal.require("events:read")
        question, name = _asked(request.environ["QUERY_STRING"])
        lines = lines_of(name, with_record=question.with_record)
        query = services.query.plan(question, principal.tenants).query
        if not places.acquire(blocking=False):
            detail = f"{AT_ONCE} exports are being streamed already; ask again when one has ended."
            raise Overloaded(detail, retry_after_s=_RETRY_AFTER_S)
        try:
            begun = begin_export(services.index, services.ledger, services.clock, query)
        except BaseException:
            places.release()
            raise
        response = Response(_Stream(begun, lines, places), 200, content_type=lines.media_type)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Disposition"] = f'attachment; filename="trailseal-export.{name}"'
        return response


def _asked(raw: str) -> tuple[Question, str]:
    """The question, and the name of the format."""
    pairs = split_query_string(raw)
    names = [value for name, value in pairs if name == "format"]
    if len(names) > 1:
        raise InvalidQuery(Problem("repeated-parameter", "format may be given only once.", parameter="format"))
    chosen = names[0] if names else EXPORT_FORMATS[0]
    if chosen not in EXPORT_FORMATS:
        detail = f"format is {' or '.join(EXPORT_FORMATS)}; {chosen!r} is neither."
        raise InvalidQuery(Problem("invalid-value", detail, parameter="format"))
    return parse_parameters([pair for pair in pairs if pair[0] != "format"], beside=WHOLE), chosen


class _Stream:
    """The body, made while it is sent.

    An answer that fails half-way has had its status long ago: its last line says so.
    """

    def __init__(self, export: Export, lines: Lines, places: BoundedSemaphore) -> None:
        self._parts = self._made(export, lines)
        self._places: BoundedSemaphore | None = places

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, wherever it is (PEP 3333): its place is free for another."""
        self._parts.close()
        places, self._places = self._places, None
        if places is not None:
            places.release()

    def _made(self, export: Export, lines: Lines) -> Generator[bytes, None, None]:
        if lines.beginning:
            yield lines.beginning
        try:
            for hits in export.batches():
                yield lines.lines(hits)
        except TrailsealError as error:
            logger("api").error("export_cut_short", why=str(error))
            yield lines.failure(f"The rest is missing: {error}")
