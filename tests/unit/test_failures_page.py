"""docs/reference/failures.md: every failure has a row, every row a test, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = re.findall(
    r"^\| (\d+) \|([^|]+)\|([^|]+)\|([^|]+)\|$",
    (ROOT / "docs/reference/failures.md").read_text("utf-8"),
    re.MULTILINE,
)
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(\S+::\S+)`", row[3])})


@cache
def _tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_failure_has_a_row_with_a_test() -> None:
    assert sorted(int(row[0]) for row in ROWS) == list(range(1, 41))
    assert [row[0] for row in ROWS if "::" not in row[3]] == []
    assert [row[0] for row in ROWS if not row[1].strip() or not row[2].strip()] == []


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_page_names_exists(named: str) -> None:
    path, _, name = named.partition("::")
    assert name.startswith("test_")
    assert name in _tests(path)
