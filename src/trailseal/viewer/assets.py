"""Files of the pages under names that hold their hash, so that browsers may keep them for ever."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from flask import Flask, Response, abort

_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_YEAR_S = 31_536_000


@lru_cache(maxsize=1)
def _assets() -> dict[str, tuple[bytes, str]]:
    """Hashed name -> content and type."""
    found: dict[str, tuple[bytes, str]] = {}
    for file in (files("trailseal.viewer") / "static").iterdir():
        stem, dot, ending = file.name.rpartition(".")
        if dot + ending in _TYPES:
            content = file.read_bytes()
            found[f"{stem}.{sha256(content).hexdigest()[:16]}.{ending}"] = (content, _TYPES[dot + ending])
    return found


def asset_url(name: str) -> str:
    """The address of a file by its plain name, for templates.

    Raises:
        KeyError: there is no such file.
    """
    stem, _, ending = name.rpartition(".")
    for hashed in _assets():
        if hashed.startswith(f"{stem}.") and hashed.endswith(f".{ending}"):
            return f"/assets/{hashed}"
    raise KeyError(name)


def install_assets(app: Flask) -> None:
    """Add ``/assets/NAME``."""

    @app.get("/assets/<name>")
    def asset(name: str) -> Response:
        found = _assets().get(name)
        if found is None:
            abort(404)
        content, content_type = found
        response = Response(content, 200, content_type=content_type)
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
