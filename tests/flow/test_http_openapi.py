"""The OpenAPI document is valid, offline, and true of what the routes answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import validator_for

from flow.http_system import HttpSystem, event, http_system
from trailseal.query.parsing import FILTERS, PAGE, WINDOW

PAGES_FOR_PEOPLE = {"/", "/docs", "/docs/errors", "/assets/{name}", "/openapi.json"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSystem]:
    with http_system(tmp_path_factory.mktemp("openapi")) as running:
        running.post(
            event(
                "e1", resource={"type": "d", "id": "1"}, context={"source_ip": "10.0.0.1"}, changes=[{"path": "a"}]
            )
        )
        running.settle()
        yield running


@pytest.fixture(scope="module")
def document(system: HttpSystem) -> dict[str, Any]:
    found: dict[str, Any] = system.get("/openapi.json")
    return found


def test_it_describes_every_route_of_the_api(system: HttpSystem, document: dict[str, Any]) -> None:
    real = {
        re.sub(r"<(?:path:|int:)?(\w+)>", lambda m: "{" + m[1].replace("event_id", "id") + "}", rule.rule)
        for rule in system.app.url_map.iter_rules()
    }
    assert set(document["paths"]) == real - PAGES_FOR_PEOPLE
    assert document["openapi"].startswith("3.1")


def test_it_describes_every_parameter_of_a_question(document: dict[str, Any]) -> None:
    described = {parameter["name"] for parameter in document["paths"]["/events"]["get"]["parameters"]}
    assert described == {*FILTERS, *(f"{name}!" for name in FILTERS), *WINDOW, *PAGE, "metadata"}


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/events?record=1", "/events"),
        ("GET", "/events?actor=nobody", "/events"),
        ("GET", "/events/count", "/events/count"),
        ("GET", "/events/e1", "/events/{id}"),
        ("GET", "/healthz", "/healthz"),
        ("GET", "/readyz", "/readyz"),
        ("POST", "/events", "/events"),
        ("GET", "/events?limit=0", "/events"),
        ("GET", "/events/none", "/events/{id}"),
    ],
)
def test_answers_fit_their_schema(
    system: HttpSystem, document: dict[str, Any], method: str, path: str, route: str
) -> None:
    body = [event("x"), {"bad": 1}] if method == "POST" else None
    response = (
        system.ask(path, method, {"Content-Type": "application/json"}, json=body)
        if body
        else system.ask(path, method)
    )
    responses = document["paths"][route][method.lower()]["responses"]
    described = responses.get(str(response.status_code), responses["default"])
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    schema = described["content"][response.content_type]["schema"]
    validator_for({"components": document["components"], **schema}).validate(response.json)


def test_the_pages_name_no_other_host_but_the_rfc(system: HttpSystem) -> None:
    for path in ("/", "/docs", "/docs/errors"):
        page = system.ask(path)
        loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"', page.text)
        assert set(loaded) <= {"https://www.rfc-editor.org/rfc/rfc9457"}
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        for asset in re.findall(r'"(/assets/[^"]+)"', page.text):
            found = system.ask(asset)
            assert found.status_code == 200
            assert "immutable" in found.headers["Cache-Control"]
        assert "<script" not in page.text
        assert not re.search(r'\sstyle="|<style', page.text)


@pytest.mark.parametrize(("path", "code"), [("/docs", "trailseal verify"), ("/docs/errors", "trailseal verify")])
def test_code_in_the_pages_of_the_reference_is_shown_as_code(system: HttpSystem, path: str, code: str) -> None:
    page = system.ask(path).text
    assert f"<code>{code}</code>" in page
    assert "`" not in page
