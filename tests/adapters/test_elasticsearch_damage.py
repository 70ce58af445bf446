"""A document that somebody changed is told from an answer that was cut off on its way."""

from __future__ import annotations

import msgspec
import pytest

from trailseal.adapters.elasticsearch.connection import Answer, decoded
from trailseal.adapters.indexes.elasticsearch.answers import PAGE_ANSWER
from trailseal.adapters.indexes.elasticsearch.documents import remade
from trailseal.errors import IntegrityViolation, Unavailable

SHARDS = {"total": 1, "successful": 1, "failed": 0}
SORT = [1, "acme", "e1", 1, 0, 7]


def page(*hits: dict[str, object]) -> bytes:
    return msgspec.json.encode({"timed_out": False, "_shards": SHARDS, "hits": {"hits": hits}})


def hit(**record: object) -> dict[str, object]:
    return {"_id": "e1", "sort": SORT, "_source": {"record": {"timestamp": 1, **record}}}


@pytest.mark.parametrize(
    ("damaged", "field"),
    [
        (hit(timestamp="canary"), "record.timestamp"),
        (hit(timestamp=2**70), "record.timestamp"),
        (hit(key="canary!"), "record.key"),
        (hit(headers=[["name"]]), "record.headers[0]"),
        ({"_id": "e1", "sort": [None, *SORT[1:]], "_source": {"record": {"timestamp": 1}}}, "[0]"),
    ],
)
def test_a_document_of_another_type_is_a_violation_that_names_it_and_no_content(
    damaged: dict[str, object], field: str
) -> None:
    with pytest.raises(IntegrityViolation) as caught:
        decoded(PAGE_ANSWER, Answer(200, page(hit(), damaged)), "a search")
    assert f"a search (_id 'e1') holds in {field} what Trailseal never writes" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_half_a_surrogate_pair_in_a_document_is_a_violation() -> None:
    body = page(hit(), hit(value="half")).replace(b'"half"', b'"\\ud800"')
    with pytest.raises(IntegrityViolation, match="_id 'e1'"):
        decoded(PAGE_ANSWER, Answer(200, body), "a search")


@pytest.mark.parametrize("body", [page(hit())[:-9], b"<html>", b'{"timed_out":1}', b"[]", b"\xff", b'"\\ud800"'])
def test_an_answer_that_is_none_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        decoded(PAGE_ANSWER, Answer(200, body), "a search")


@pytest.mark.parametrize(
    "source",
    [b'{"log":"one","partition":0,"offset":7}', b'{"log":1,"partition":0,"offset":7,"record":{"key":"!"}}'],
)
def test_a_damaged_document_stays_as_it_is_where_its_month_is_made_anew(source: bytes) -> None:
    assert remade("2026.03", "e1", source, lambda _: pytest.fail("nothing can be projected")) == (source, False)
    spread = source.replace(b",", b",\n")
    same, made = remade("2026.03", "e1", spread, lambda _: pytest.fail("nothing can be projected"))
    assert not made
    assert b"\n" not in same
    assert msgspec.json.decode(same) == msgspec.json.decode(source)
