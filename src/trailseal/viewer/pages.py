"""``GET /``: the newest events as a table, with the API's filters as a form. No script runs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, redirect, request
from jinja2 import Environment, PackageLoader, StrictUndefined

from trailseal.api.gate import principal_of
from trailseal.api.services import Services
from trailseal.errors import InvalidQuery, Rebuilding, Unavailable
from trailseal.model.event import OUTCOMES
from trailseal.query.parsing import parse_parameters, split_query_string
from trailseal.viewer.assets import asset_url, install_assets
from trailseal.viewer.documentation import install_documentation
from trailseal.viewer.links import Address
from trailseal.viewer.responses import respond
from trailseal.viewer.rows import read_page, row

ROWS = 50
_RANGES = (("Last hour", "-1h"), ("24 hours", "-24h"), ("7 days", "-7d"), ("30 days", "-30d"), ("All time", None))
_FORM = ("q", "actor", "action", "resource", "outcome", "source_ip", "tenant_id", "time_from", "time_to")
_NAMES = {
    "q": "words",
    "source_ip": "address",
    "tenant_id": "tenant",
    "time_from": "from",
    "time_to": "before",
    "resource_type": "resource type",
    "request_id": "request",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter in force and the page without it."""

    name: str
    relation: str
    value: str
    href: str


def install_viewer(app: Flask, services: Services) -> None:
    """Add the pages for people and their files."""
    install_assets(app)
    templates = _templates()
    install_documentation(app, templates)

    @app.get("/")
    def events_page() -> Response:
        principal = principal_of(request.environ)
        principal.require("events:read")
        return _page(services, templates, principal.tenants)


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("trailseal.viewer"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals.update(asset_url=asset_url, version=version("trailseal"))
    return environment


def _page(services: Services, templates: Environment, tenants: tuple[str, ...] | None) -> Response:
    try:
        given = split_query_string(request.environ["QUERY_STRING"])
    except InvalidQuery as error:
        return respond(templates.get_template("events.html").render(_frame(Address(())), error=str(error)), 400)
    here = Address(tuple((name, value) for name, value in given if value))
    if len(here.pairs) != len(given):
        tidy = redirect(str(here), 303)
        return Response(status=tidy.status_code, headers=tidy.headers)
    frame = _frame(here)
    template = templates.get_template("events.html")
    try:
        frame.update(_found(services, here, tenants))
    except InvalidQuery as error:
        return respond(template.render(frame, error=error.problem.detail), 400)
    except Unavailable as error:
        what = "The index is being rebuilt" if isinstance(error, Rebuilding) else "The index does not answer"
        response = respond(template.render(frame, error=f"{what}: {error} Events are still accepted."), 503)
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return response
    return respond(template.render(frame))


def _found(services: Services, here: Address, tenants: tuple[str, ...] | None) -> dict[str, Any]:
    pairs = here.pairs if here.values("limit") else (*here.pairs, ("limit", str(ROWS)))
    answer = services.query.search(services.query.plan(parse_parameters(pairs), tenants))
    page = read_page(answer.body)
    return {
        "rows": [row(event, here) for event in page.events],
        "next_href": None if page.next_cursor is None else str(here.at(page.next_cursor)),
        "stale": answer.stale,
        "show_tenant": tenants is None or len(tenants) > 1,
    }


def _frame(here: Address) -> dict[str, Any]:
    """What every state of the page shows: the form, the filters in force, the same question to the API."""
    order = (here.values("order") or ["desc"])[0]
    first = here.changed({})
    return {
        "rows": None,
        "error": None,
        "stale": False,
        "show_tenant": True,
        "next_href": None,
        "first_href": str(first) if here.values("cursor") else None,
        "order": order,
        "other_order_href": str(here.changed({"order": "asc" if order == "desc" else None})),
        "values": {name: (here.values(name) or [""])[0] for name in _FORM},
        "extra": [pair for pair in first.pairs if pair[0] not in _FORM or here.values(pair[0])[0] != pair[1]],
        "outcomes": OUTCOMES,
        "chips": [_chip(here, pair) for pair in first.pairs if pair[0] not in {"order", "limit", "record"}],
        "ranges": _ranges(here),
        "api_call": request.host_url.rstrip("/") + first.api(),
        "api_href": first.api(),
        "host_url": request.host_url,
    }


def _chip(here: Address, pair: tuple[str, str]) -> Chip:
    name, value = pair
    bare = name.removesuffix("!")
    relation = "is not" if bare != name else {"time_from": "", "time_to": "", "q": "hold"}.get(bare, "is")
    if value == "*":
        relation, value = ("is missing", "") if bare != name else ("is there", "")
    return Chip(_NAMES.get(bare, bare), relation, value, str(here.without(pair)))


def _ranges(here: Address) -> list[tuple[str, str, bool]]:
    start = here.values("time_from")
    current = "both" if here.values("time_to") else start[0] if start else None
    return [
        (name, str(here.changed({"time_from": start, "time_to": None})), current == start)
        for name, start in _RANGES
    ]
