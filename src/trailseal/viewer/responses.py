"""A page as an HTTP answer."""

from __future__ import annotations

from flask import Response

HTML = "text/html; charset=utf-8"
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


def respond(html: str, status: int = 200) -> Response:
    """A page with the headers that every page has."""
    response = Response(html, status, content_type=HTML)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
