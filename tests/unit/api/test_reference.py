"""The reference and the code say the same: every code is explained, every route is described."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import trailseal
from trailseal.api.problem_types import PROBLEM_TYPES, title_of

PACKAGE = Path(trailseal.__file__).parent
ROOT = Path(__file__).resolve().parents[3]
RAISERS = {"Problem", "Refusal", "refuse", "_fault", "problem_response"}
NOT_OVER_HTTP = {"decoder-fault"}


def codes_in(path: Path) -> set[str]:
    """Texts that look like codes among the arguments of what makes problems."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in RAISERS:
                found |= {
                    argument.value
                    for argument in node.args[:2]
                    if isinstance(argument, ast.Constant)
                    and isinstance(argument.value, str)
                    and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", argument.value)
                }
    return found


def test_every_code_that_is_raised_is_explained() -> None:
    raised = set().union(
        *(
            codes_in(path)
            for part in ("api", "query", "formats", "model")
            for path in (PACKAGE / part).rglob("*.py")
        )
    )
    assert len(raised) > 40
    assert raised - NOT_OVER_HTTP <= set(PROBLEM_TYPES)


def test_the_errors_page_lists_exactly_the_kinds_of_problems() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\d{3}) \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    kinds = [(k.code, str(k.status), k.title, k.advice.replace("|", "\\|")) for k in PROBLEM_TYPES.values()]
    assert rows == kinds


def test_an_unusual_status_still_has_a_title() -> None:
    assert title_of("http-418") == "Http 418"
