"""The reference pages say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trailseal.formats import FORMATS, cloudevents, decoding, foreign
from trailseal.formats.cloudtrail_resources import REQUEST_PARAMETERS
from trailseal.formats.native import NativeEvent
from trailseal.model import limits
from trailseal.model.projection import COLLISION_FLAG
from trailseal.model.words import words_of

ROOT = Path(__file__).resolve().parents[3]
EVENT = (ROOT / "docs" / "reference" / "event.md").read_text("utf-8")
FORMAT_PAGE = (ROOT / "docs" / "reference" / "formats.md").read_text("utf-8")
SOURCES = [
    path for part in ("model", "formats") for path in sorted((ROOT / "src" / "trailseal" / part).glob("*.py"))
]


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_code_is_explained_and_no_other() -> None:
    code = re.compile(r'(?:refuse|Problem|_fault|_invalid)\(\s*"([a-z0-9-]+)"')
    raised = {name for path in SOURCES for name in code.findall(path.read_text("utf-8"))}
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", section(EVENT, "Why an event is refused"), re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert set(explained) == raised - {"nothing-to-search", "star-inside", "too-many-words"}
    assert all(f"`{name}`" in EVENT for name in raised)


def test_every_flag_is_explained_and_no_other() -> None:
    names = {
        value
        for module in (cloudevents, decoding, foreign)
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str) and "-" in value
    }
    explained = re.findall(
        r"^\| `([a-z0-9-]+)` \|", EVENT.partition("### What answers add")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert set(explained) == names | {COLLISION_FLAG}


@pytest.mark.parametrize(
    "limit",
    [
        limits.MAX_RECORD_BYTES,
        limits.MAX_FOREIGN_BYTES,
        limits.MAX_FILTERABLE_BYTES,
        limits.MAX_TENANT_BYTES,
        limits.MAX_TENANT_AND_ID_BYTES,
        limits.MAX_METADATA_KEYS,
        limits.MAX_METADATA_DEPTH,
        limits.MAX_METADATA_TERMS,
        limits.MAX_CHANGES,
        limits.MAX_CHANGE_DEPTH,
        limits.MAX_FOREIGN_DEPTH,
        limits.MAX_WORDS,
        limits.MAX_QUERY_WORDS,
    ],
)
def test_every_limit_stands_in_the_table(limit: int) -> None:
    assert re.search(rf"\b{limit}\b", section(EVENT, "Limits"))


@pytest.mark.parametrize("field", NativeEvent.__struct_fields__)
def test_every_field_has_its_row(field: str) -> None:
    assert f"| `{field}` |" in section(EVENT, "Fields")


def test_the_words_of_the_table_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", section(EVENT, "Words"), re.MULTILINE)
    assert len(rows) == 4
    for text, words in rows:
        assert set(re.findall(r"`(.+?)`", words)) == set(words_of([text]).split(" ")), text


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_its_section(name: str) -> None:
    assert section(FORMAT_PAGE, name)


@pytest.mark.parametrize("service", sorted(REQUEST_PARAMETERS))
def test_every_request_parameter_is_in_the_table(service: str) -> None:
    row = ", ".join(f"`{parameter}` ({kind})" for parameter, kind in REQUEST_PARAMETERS[service])
    assert f"| `{service}` | {row} |" in FORMAT_PAGE
