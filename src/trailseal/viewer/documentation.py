"""``/docs`` and ``/docs/errors``: the API's reference on the server itself, without anything from outside."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from flask import Flask, Response
from jinja2 import Environment
from markupsafe import Markup, escape

from trailseal.api.openapi import document
from trailseal.api.problem_types import PROBLEM_TYPES
from trailseal.viewer.responses import respond

_CODE = re.compile(r"``?([^`]+)``?")


def install_documentation(app: Flask, templates: Environment) -> None:
    """Add the pages."""
    templates.filters["prose"] = _prose

    @app.get("/docs")
    def docs() -> Response:
        described = msgspec.json.decode(document())
        page = templates.get_template("docs.html")
        return respond(page.render(api=described, operations=_operations(described)))

    @app.get("/docs/errors")
    def errors() -> Response:
        return respond(templates.get_template("errors.html").render(types=PROBLEM_TYPES))


def _prose(sentence: str) -> Markup:
    """A sentence of the reference for a page: what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped, then marked up


def _operations(described: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
