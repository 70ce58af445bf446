"""Exports: the same events as page by page, as of their start, and never silently short."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from flow.http_system import HttpSystem, event, http_system
from flow.running import record
from trailseal.api.export import AT_ONCE
from trailseal.cli.export import _write as write_export
from trailseal.errors import Unavailable
from trailseal.formats.csv_rendering import COLUMNS
from trailseal.formats.rendering import render
from trailseal.model.projection import Hit, SortKey
from trailseal.model.query import Query
from trailseal.query import export as exporting
from trailseal.query.export import Export, begin_export

TENANTS = ("acme", "umbrella")
EVENTS = 60


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSystem]:
    with http_system(tmp_path_factory.mktemp("export")) as running:
        running.post([one(number) for number in range(EVENTS)])
        running.settle()
        yield running


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 7)


def one(number: int) -> dict[str, Any]:
    return event(
        f"e{number:03d}",
        timestamp=f"2026-03-04T05:06:{number // 10:02d}Z",
        tenant_id=TENANTS[number % 2],
        actor=f"actor-{number % 5}",
        metadata={"line\nbreak": 'a "quoted", value'},
    )


def exported(system: HttpSystem, query: str = "") -> list[Any]:
    response = system.ask(f"/events/export?{query}")
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


class Faltering:
    """The index, that does not answer some of the searches."""

    def __init__(self, index: Any, fails: Callable[[int], bool]) -> None:
        self._index, self._fails, self.searches = index, fails, 0

    def refresh(self) -> None:
        self._index.refresh()

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        self.searches += 1
        if self._fails(self.searches):
            raise Unavailable("The index is away.")
        found: list[Hit] = self._index.search(query, after, limit)
        return found


class NoTime:
    """A clock on which waiting takes no time for real."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def begun(system: HttpSystem, index: Any = None) -> Export:
    clock: Any = NoTime()
    return begin_export(index or system.engines.index, system.engines.ledger, clock, Query(order="asc"))


@pytest.mark.parametrize(
    "query",
    ["", "order=asc", "actor=actor-1&actor=actor-2", "tenant_id!=acme", "record=1", "actor=nobody", "q=read"],
)
def test_an_export_is_what_the_pages_are(system: HttpSystem, query: str) -> None:
    parameters = dict.fromkeys(part.partition("=")[0] for part in query.split("&") if part)
    asked = {
        name: [part.partition("=")[2] for part in query.split("&") if part.partition("=")[0] == name]
        for name in parameters
    }
    assert exported(system, query) == system.walk(limit=9, **asked)


def test_a_key_exports_its_own_tenants_only(tmp_path: Path) -> None:
    with http_system(tmp_path / "data") as system:
        system.post([one(number) for number in range(10)])
        system.settle()
        system.authorization = system.key("events:read", tenants=["acme"])
        assert {row["tenant_id"] for row in exported(system)} == {"acme"}
        assert exported(system, "tenant_id=umbrella") == []
        system.authorization = system.key("events:write", tenants=None)
        assert system.ask("/events/export").status_code == 403


def test_what_arrives_meanwhile_is_not_in_it_and_nothing_else_is_missing(tmp_path: Path) -> None:
    with http_system(tmp_path / "data") as system:
        system.post([one(number) for number in range(EVENTS)])
        system.settle()
        before = exported(system, "order=asc")
        batches = begun(system).batches()
        found = list(next(batches))
        system.engines.log.append([record(f"late-{n}", timestamp="2026-03-04T05:06:03Z") for n in range(50)])
        system.settle()
        found += [hit for batch in batches for hit in batch]
        assert [json.loads(render(hit)) for hit in found] == before
        assert len(exported(system)) == EVENTS + 50


def test_an_index_that_comes_back_loses_and_doubles_nothing(system: HttpSystem) -> None:
    index = Faltering(system.engines.index, lambda search: search % 3 == 2)
    found = [hit.key.id for batch in begun(system, index).batches() for hit in batch]
    assert found == [row["id"] for row in exported(system, "order=asc")]
    assert index.searches > EVENTS // 7 + 2


def faltering(system: HttpSystem, fails: Callable[[int], bool]) -> HttpSystem:
    """The same system behind an index that falters."""
    services: Any = dataclasses.replace(
        system.services,
        index=Faltering(system.engines.index, fails),  # type: ignore[arg-type] # what an export needs of it
        clock=NoTime(),  # type: ignore[arg-type] # likewise
    )
    return HttpSystem(system.engines, services)


def test_an_export_cut_short_says_so_in_its_last_line(system: HttpSystem) -> None:
    whole = exported(system)
    rows = exported(faltering(system, lambda search: search > 4))
    assert rows[:-1] == whole[:21]
    assert rows[-1]["error"]["code"] == "export-incomplete"
    table = faltering(system, lambda search: search > 4).ask("/events/export?format=csv").text.splitlines()
    assert table[-1].startswith("#export-incomplete: The rest is missing")


def test_a_command_whose_export_is_cut_short_fails_and_its_pipe_says_so_too(system: HttpSystem) -> None:
    away = Faltering(system.engines.index, lambda search: search > 4)
    out = BytesIO()
    with pytest.raises(Unavailable):
        write_export(system.engines, begun(system, away), exporting.lines_of("ndjson"), out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert rows[:-1] == exported(system, "order=asc")[: len(rows) - 1]
    assert rows[-1]["error"]["code"] == "export-incomplete"


def test_an_index_that_cannot_answer_is_a_503_before_the_first_row(system: HttpSystem) -> None:
    away = faltering(system, lambda _: True)
    for _ in range(AT_ONCE + 1):
        response = away.ask("/events/export")
        assert (response.status_code, response.json["code"]) == (503, "unavailable")


def test_more_exports_than_places_are_asked_to_wait(system: HttpSystem) -> None:
    open_ones = [system.ask("/events/export") for _ in range(AT_ONCE)]
    refused = system.ask("/events/export")
    assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    for response in open_ones:
        response.close()
    assert len(exported(system)) == EVENTS


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=5", "limit"),
        ("cursor=x", "cursor"),
        ("format=xml", "format"),
        ("format=csv&format=csv", "format"),
        ("format=csv&record=1", "record"),
        ("colour=red", "colour"),
    ],
)
def test_a_parameter_that_means_nothing_here_is_named(system: HttpSystem, query: str, parameter: str) -> None:
    problem = system.get(f"/events/export?{query}", 400)
    assert problem["errors"][0]["parameter"] == parameter


def test_a_table_holds_every_event_and_no_formula(tmp_path: Path) -> None:
    evil = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1")
    with http_system(tmp_path / "data") as system:
        system.post([one(1), *(event(f"f{n}", actor=text, reason=text) for n, text in enumerate(evil))])
        system.settle()
        response = system.ask("/events/export?format=csv")
        rows = list(csv.DictReader(StringIO(response.text, newline="")))
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert "trailseal-export.csv" in response.headers["Content-Disposition"]
        assert tuple(rows[0]) == COLUMNS
        by_id = {row["id"]: row for row in rows}
        assert [by_id[f"f{n}"]["actor_id"] for n in range(len(evil))] == [f"'{text}" for text in evil]
        assert json.loads(by_id["e001"]["metadata"]) == one(1)["metadata"]
        assert by_id["e001"]["position"] == "1/0/0"
