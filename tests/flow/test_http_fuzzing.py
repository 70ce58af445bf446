"""Schemathesis over the OpenAPI document: whatever is sent, the answer is one that the document describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from flow.http_system import HttpSystem, event, http_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSystem]:
    with http_system(tmp_path_factory.mktemp("fuzz")) as running:
        running.post([event(f"e{number}") for number in range(20)])
        running.settle()
        yield running


@pytest.fixture(scope="module")
def api(system: HttpSystem) -> schemathesis.BaseSchema:
    def from_this_machine(environ: dict[str, Any], start_response: Any) -> Any:
        return system.app(environ | {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}, start_response)

    return schemathesis.openapi.from_wsgi("/openapi.json", from_this_machine)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events"),
        ("POST", "/events"),
        ("GET", "/events/count"),
        ("GET", "/events/{id}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    ],
)
def test_every_answer_is_one_that_the_document_describes(
    api: schemathesis.BaseSchema, method: str, path: str
) -> None:
    operation = api[path][method]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy())
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=[not_a_server_error, content_type_conformance, response_schema_conformance])

    fuzz()
