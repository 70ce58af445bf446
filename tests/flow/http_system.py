"""The embedded system behind its HTTP API, in this process: real engines, the real pipeline, Flask's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from werkzeug.test import TestResponse

from flow.embedded import consumer_of, opened
from flow.running import caught_up, running, until
from trailseal.api.app import create_app
from trailseal.api.credentials import RELOAD_S, Authenticator, create_key
from trailseal.api.services import Services
from trailseal.bootstrap import Engines
from trailseal.cli.pipeline import make_consumer
from trailseal.event_consumer.runner import Consumer
from trailseal.query.service import QueryService
from trailseal.sealing.evidence import Evidence
from trailseal.settings import Settings
from trailseal.viewer.pages import install_viewer

MAX_REQUEST_BYTES = 2 << 20
JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass
class HttpSystem:
    """A running system.

    Attributes:
        authorization: sent with every request, unless a request says otherwise.
    """

    engines: Engines
    services: Services
    authorization: str | None = None

    def __post_init__(self) -> None:
        self.app = create_app(self.services)
        install_viewer(self.app, self.services)
        self.client = self.app.test_client()

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, **more: Any
    ) -> TestResponse:
        given = {"Host": "127.0.0.1:8000", **({"Authorization": self.authorization} if self.authorization else {})}
        return self.client.open(path, method=method, headers={**given, **(headers or {})}, **more)

    def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        response = self.ask(path + query)
        assert response.status_code == status, response.text
        return response.json

    def post(self, body: Any, status: int = 200, media: str = JSON, path: str = "/events", **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.ask(path, "POST", {"Content-Type": media, **sent}, data=data)
        assert response.status_code == status, response.text
        return response.json

    def settle(self) -> None:
        """Everything accepted so far is taken in and visible, and no earlier answer stands in its way."""
        until(lambda: caught_up(self.engines.log, self.engines.ledger))
        self.engines.index.refresh()
        assert self.engines.cache.renew(["*"])

    def walk(self, path: str = "/events", **parameters: Any) -> list[dict[str, Any]]:
        """Every event of a question, page by page, by the `Link` headers."""
        found: list[dict[str, Any]] = []
        here: str | None = f"{path}?{urlencode(parameters, doseq=True)}"
        while here is not None:
            response = self.ask(here)
            assert response.status_code == 200, response.text
            page = response.json
            assert isinstance(page, dict)
            found += page["events"]
            link = response.headers.get("Link")
            assert (link is not None) == page["has_more"] == (page["next_cursor"] is not None)
            here = None if link is None else link[1 : link.index(">")]
        return found

    def key(self, *scopes: str, tenants: list[str] | None) -> str:
        """A new key's header, counted by the authenticator from now on."""
        _, text = create_key(self.engines.ledger, self.engines.clock, scopes=scopes, tenants=tenants)
        self.reread_keys()
        return f"Bearer {text}"

    def reread_keys(self) -> None:
        """Let the authenticator's next look be a fresh one."""
        authenticator = self.services.authenticator
        if authenticator._reading is not None:
            authenticator._reading.exception(30)  # one that began before must not pass for it
        authenticator._loaded_at = self.engines.clock.monotonic() - 2 * RELOAD_S


def event(event_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """A native event that keeps every rule."""
    body = {"timestamp": "2026-03-04T05:06:07Z", "actor": "alice", "action": "document.read"} | changes
    return body if event_id is None else {"id": event_id, **body}


@contextmanager
def http_system(data: Path, *, sealed: bool = False, open_integrity: bool = False) -> Iterator[HttpSystem]:
    """A system on that folder; its pipeline, which seals where asked to, is over when the block is left."""
    with opened(data) as engines, running(_consumer(data, engines, sealed=sealed)) as consumer:
        evidence = Evidence(engines.ledger, engines.clock.monotonic)
        services = Services(
            log=engines.log,
            index=engines.index,
            ledger=engines.ledger,
            clock=engines.clock,
            query=QueryService(engines.index, engines.cache, engines.clock, engines.secret, evidence),
            authenticator=Authenticator(engines.ledger, engines.clock),
            evidence=evidence,
            pipeline=consumer.state,
            max_request_bytes=MAX_REQUEST_BYTES,
            open_integrity=open_integrity,
        )
        until(lambda: consumer.state.snapshot.phase == "running")
        yield HttpSystem(engines, services)


def _consumer(data: Path, engines: Engines, *, sealed: bool) -> Consumer:
    return make_consumer(Settings(data=data), engines) if sealed else consumer_of(engines)
