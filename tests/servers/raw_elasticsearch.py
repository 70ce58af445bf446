"""Plain requests to the real Elasticsearch, beside the adapters."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


class RawElasticsearch:
    """Plain requests beside the adapters: to look at what they stored, and to break it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; errors are answers too."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address of the test's own server
            self._url + path, data, {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read())

    def indices(self, prefix: str) -> list[str]:
        found: dict[str, Any] = self("GET", f"/{prefix}*/_settings?filter_path=*.settings.index.uuid")
        return sorted(found)

    def forget(self, prefix: str) -> None:
        """Delete everything that begins so."""
        for name in self.indices(prefix):
            self("DELETE", f"/{name}")
        templates = self("GET", f"/_index_template/{prefix}*?filter_path=index_templates.name")
        for template in templates.get("index_templates", []):
            self("DELETE", f"/_index_template/{template['name']}")
