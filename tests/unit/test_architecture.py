from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import trailseal
from trailseal import errors

PACKAGE = Path(trailseal.__file__).parent
TESTS = Path(__file__).resolve().parent.parent
CONTRACTS = {
    "logs": "LogContract",
    "indexes": "IndexContract",
    "ledgers": "LedgerContract",
    "caches": "CacheContract",
}


def _modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts]


def _adapter_classes() -> list[tuple[str, str]]:
    """(port, class name) of every public class that adapters offer to bootstrap."""
    found = []
    for node in (
        node for path in _modules(PACKAGE / "bootstrap") for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trailseal.adapters."):
            port = node.module.split(".")[2]
            found += [(port, alias.name) for alias in node.names if port in CONTRACTS and _is_engine(alias.name)]
    return found


def _is_engine(name: str) -> bool:
    """Not one of the options an engine is opened with, or a function that makes them."""
    return name.endswith(("Log", "Index", "Ledger", "Cache"))


def test_bootstrap_opens_at_least_one_adapter_per_port() -> None:
    assert {port for port, _ in _adapter_classes()} == set(CONTRACTS)


@pytest.mark.parametrize(("port", "name"), _adapter_classes())
def test_every_adapter_that_bootstrap_opens_runs_the_contract_of_its_port(port: str, name: str) -> None:
    for path in _modules(TESTS):
        text = path.read_text("utf-8")
        if re.search(rf"class \w+\(.*{CONTRACTS[port]}.*\)", text) and re.search(rf"\b{name}\b", text):
            return
    pytest.fail(f"no test class derives from {CONTRACTS[port]} and names {name}")


def test_the_tree_in_the_errors_docstring_is_the_real_one() -> None:
    drawn = re.findall(r"([├└]── |TrailsealError)(\w*)", errors.__doc__ or "")
    names = {name for _, name in drawn if name}
    real = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value)
        and issubclass(value, errors.TrailsealError)
        and value is not errors.TrailsealError
    }
    assert names == real


@pytest.mark.parametrize("path", _modules(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, "no module docstring"
    assert docstring.splitlines()[0].endswith((".", ":", ";")) or "\n" in docstring


def test_no_module_is_a_grab_bag() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert [path for path in _modules(PACKAGE) if path.stem in forbidden] == []


def test_nothing_in_the_package_sleeps() -> None:
    """Waiting is done on conditions, deadlines and the clock port, never blindly."""
    allowed = {"sqlite_schema.py"}  # SQLite has no way to wait for another process that switches the file to WAL
    guilty = {path.name for path in _modules(PACKAGE) if "time.sleep(" in path.read_text("utf-8")}
    assert guilty == allowed
