"""`trailseal search`: the API's questions from a terminal, beside a running `up` or without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from trailseal.bootstrap import open_engines
from trailseal.cli import filters
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, write_ndjson
from trailseal.errors import InvalidQuery, UsageError
from trailseal.query.parsing import parse_parameters
from trailseal.query.question import MAX_LIMIT
from trailseal.query.service import QueryService
from trailseal.sealing.evidence import Evidence

_decode_page = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode


def search(
    conditions: filters.Conditions = None,
    actor: filters.Actor = None,
    action: filters.Action = None,
    resource: filters.ResourcePath = None,
    tenant_id: filters.TenantId = None,
    outcome: filters.OutcomeName = None,
    source_ip: filters.SourceIp = None,
    words: filters.Words = None,
    time_from: filters.TimeFrom = None,
    time_to: filters.TimeTo = None,
    order: filters.OrderName = None,
    limit: Annotated[int, typer.Option(min=1, help="How many events at most.")] = 100,
    everything: Annotated[bool, typer.Option("--all", help="All of them, page by page.")] = False,
    record: Annotated[bool, typer.Option("--record", help="With the original record.")] = False,
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Find events.

    A table on a terminal, one JSON object a line in a pipe. Works beside a running `trailseal up`.
    """
    repeated = {"actor": actor, "action": action, "resource": resource, "tenant_id": tenant_id}
    repeated |= {"outcome": outcome, "source_ip": source_ip}
    single = {"q": words, "time_from": time_from, "time_to": time_to, "order": order}
    pairs = filters.asked(conditions, repeated, single | {"record": "1" if record else None})
    engines = open_engines(settings_from(config, data=data), "read")
    try:
        service = QueryService(
            engines.index,
            engines.cache,
            engines.clock,
            engines.secret,
            Evidence(engines.ledger, engines.clock.monotonic),
        )
        rows = _rows(service, pairs, None if everything else limit)
        if as_table(form):
            _draw(rows)
        else:
            write_ndjson(rows)
    except InvalidQuery as error:
        raise UsageError(f"{error.problem.parameter or 'search'}: {error}") from error
    finally:
        engines.close()


def _rows(service: QueryService, pairs: list[tuple[str, str]], limit: int | None) -> Iterator[bytes]:
    """Events as JSON, page after page, until there are no more or ``limit`` is reached."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = MAX_LIMIT if left is None else min(left, MAX_LIMIT)
        paging = [("limit", str(size)), *([("cursor", cursor)] if cursor else [])]
        answer = service.search(service.plan(parse_parameters([*pairs, *paging]), None))
        rows = _decode_rows(_decode_page(answer.body)["events"])
        yield from (bytes(row) for row in rows)
        cursor = answer.next_cursor
        if cursor is None:
            return
        left = None if left is None else left - len(rows)
    notice("There are more; ask for them with --limit or --all.")


def _draw(rows: Iterator[bytes]) -> None:
    columns = ("time", "tenant", "actor", "action", "resource", "outcome", "source")
    cells = [_cells(_decode_event(row)) for row in rows]
    if cells:
        draw_table(columns, cells)
    else:
        notice("No event matches.")


def _cells(event: dict[str, Any]) -> tuple[str, ...]:
    resource = event.get("resource") or {}
    path = "/".join(part for part in (resource.get("type"), resource.get("id")) if part)
    context = event.get("context") or {}
    actor = event["actor"]
    return (
        event["timestamp"],
        event["tenant_id"],
        actor.get("name") or actor["id"],
        event["action"],
        path,
        event.get("outcome", "success"),
        context.get("source_ip") or context.get("source") or "",
    )
