"""The parameters of a question, one rule at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.errors import InvalidQuery
from trailseal.model.query import Condition, Exact, Field, Network, Prefix, Present, Word
from trailseal.query.matching import escape, parse_match
from trailseal.query.parsing import FILTERS, PAGE, WINDOW, parse_parameters, parse_query_string
from trailseal.query.question import Question, scoped

NOW_US = 1_780_000_000_123_456
DAY_US = 86_400_000_000
NAMES = (*FILTERS, *WINDOW, *PAGE, "metadata.a", "actor!")


def ask(raw: str) -> Question:
    return parse_query_string(raw)


def conditions(raw: str) -> tuple[Condition, ...]:
    return ask(raw).query.conditions


@pytest.mark.parametrize(
    "field", [field for field in Field if field not in {Field.OUTCOME, Field.SOURCE_IP, Field.METADATA}]
)
def test_every_text_filter_takes_exact_values_prefixes_and_presence(field: Field) -> None:
    assert conditions(f"{field}=bob") == (Condition(field, (Exact("bob"),)),)
    assert conditions(f"{field}=bob*") == (Condition(field, (Prefix("bob"),)),)
    assert conditions(f"{field}=*") == (Condition(field, (Present(),)),)


def test_a_repeated_filter_is_one_condition_with_any_of_its_values() -> None:
    (found,) = conditions("actor=bob&action=x*&actor=alice&actor=bob")[:1] or ()
    both = {condition.field: set(condition.any_of) for condition in conditions("actor=bob&action=x*&actor=alice")}
    assert both == {Field.ACTOR: {Exact("bob"), Exact("alice")}, Field.ACTION: {Prefix("x")}}
    assert len(found.any_of) == 2


def test_an_exclamation_mark_negates_and_stands_beside_the_plain_filter() -> None:
    found = {(c.field, c.negated): c.any_of for c in conditions("actor!=bob&actor!=eve&actor=a*")}
    assert set(found[Field.ACTOR, True]) == {Exact("bob"), Exact("eve")}
    assert found[Field.ACTOR, False] == (Prefix("a"),)


def test_the_order_of_parameters_does_not_change_the_question() -> None:
    assert ask("actor=a&action=b&actor=c").filter_key == ask("action=b&actor=c&actor=a").filter_key


def test_limit_and_record_do_not_belong_to_the_filters_but_order_and_times_do() -> None:
    key = ask("actor=a").filter_key
    assert ask("actor=a&limit=7&record=1").filter_key == key
    for other in ("actor=a&order=asc", "actor=a&time_from=-1h", "actor=a&q=x", "actor!=a", "action=a"):
        assert ask(other).filter_key != key


def test_metadata_keys_may_be_dotted_and_negated() -> None:
    found = {(c.key, c.negated): c.any_of for c in conditions("metadata.a.b=5&metadata.c!=x*")}
    assert found == {("a.b", False): (Exact("5"),), ("c", True): (Prefix("x"),)}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("10.0.0.7", Exact("10.0.0.7")),
        ("::ffff:10.0.0.7", Exact("10.0.0.7")),
        ("10.1.2.3/8", Network("10.0.0.0", "10.255.255.255")),
        ("::ffff:10.0.0.0/104", Network("10.0.0.0", "10.255.255.255")),
        ("2001:DB8::/32", Network("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("*", Present()),
    ],
)
def test_an_address_may_be_one_a_network_or_a_mapped_one(text: str, match: object) -> None:
    assert conditions(f"source_ip={text}")[0].any_of == (match,)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (r"a\*", Exact("a*")),
        (r"a\*b", Exact("a*b")),
        (r"DOMAIN\bob", Exact(r"DOMAIN\bob")),
        ("DOMAIN\\\\*", Prefix("DOMAIN\\")),
        (r"\\server\share", Exact(r"\\server\share")),
        (r"a\**", Prefix("a*")),
        (r"\*", Exact("*")),
    ],
)
def test_a_backslash_counts_only_before_a_star(text: str, match: object) -> None:
    assert parse_match(Field.ACTOR, "actor", text) == match


@given(st.text(min_size=1))
def test_an_escaped_value_means_exactly_itself(text: str) -> None:
    assert parse_match(Field.ACTOR, "actor", escape(text)) == Exact(text)


@pytest.mark.parametrize(
    ("raw", "code", "parameter"),
    [
        ("actr=x", "unknown-parameter", "actr"),
        ("Actor=x", "unknown-parameter", "Actor"),
        ("q!=x", "unknown-parameter", "q!"),
        ("limit!=x", "unknown-parameter", "limit!"),
        ("limit=1&limit=1", "repeated-parameter", "limit"),
        ("q=a&q=b", "repeated-parameter", "q"),
        ("cursor=a&cursor=a", "repeated-parameter", "cursor"),
        ("time_from=-1h&time_from=-2h", "repeated-parameter", "time_from"),
        ("actor=", "empty-value", "actor"),
        ("actor", "empty-value", "actor"),
        ("actor!=", "empty-value", "actor"),
        ("q=", "empty-value", "q"),
        ("cursor=", "empty-value", "cursor"),
        ("limit=0", "invalid-value", "limit"),
        ("limit=1001", "invalid-value", "limit"),
        ("limit=-5", "invalid-value", "limit"),
        ("limit=5.0", "invalid-value", "limit"),
        ("limit=%205", "invalid-value", "limit"),
        ("limit=%D9%A5", "invalid-value", "limit"),
        ("order=up", "invalid-value", "order"),
        ("record=yes", "invalid-value", "record"),
        ("outcome=ok", "invalid-value", "outcome"),
        ("outcome=succ*", "invalid-value", "outcome"),
        ("source_ip=10.0.*", "invalid-address", "source_ip"),
        ("source_ip=10.0.0.0/33", "invalid-address", "source_ip"),
        ("source_ip=fe80::1%25eth0", "invalid-address", "source_ip"),
        ("actor=a*b", "star-inside", "actor"),
        ("actor=*b", "star-inside", "actor"),
        ("metadata.=x", "invalid-metadata-key", "metadata."),
        ("metadata.a..b=x", "invalid-metadata-key", "metadata.a..b"),
        ("metadata=x", "unknown-parameter", "metadata"),
        ("time_from=yesterday", "invalid-time", "time_from"),
        ("time_from=2026-02-30", "invalid-time", "time_from"),
        ("time_from=2026-01-01T00:00:00", "invalid-time", "time_from"),
        ("time_to=24h", "invalid-time", "time_to"),
        ("time_to=-24y", "invalid-time", "time_to"),
        ("time_from=2026-01-02&time_to=2026-01-02", "empty-window", "time_from"),
        ("time_from=-1h&time_to=-2h", "empty-window", "time_from"),
        ("q=%21%21", "nothing-to-search", "q"),
        ("actor=" + "x" * 8_193, "value-too-long", "actor"),
        ("actor=%FF", "invalid-encoding", None),
        ("&".join(["actor=a"] * 201), "too-many-parameters", None),
    ],
)
def test_a_broken_rule_is_named_with_its_parameter(raw: str, code: str, parameter: str | None) -> None:
    with pytest.raises(InvalidQuery) as refused:
        ask(raw)
    assert (refused.value.problem.code, refused.value.problem.parameter) == (code, parameter)
    assert refused.value.problem.detail


def test_a_count_takes_filters_and_times_but_no_page() -> None:
    assert parse_query_string("actor=a&time_from=-1h&q=x", beside=()).query.words == (Word("x"),)
    for raw in ("limit=1", "order=asc", "cursor=x", "record=1"):
        with pytest.raises(InvalidQuery):
            parse_query_string(raw, beside=())


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-02", DAY_US),
        ("1970-01-02T00:00:00Z", DAY_US),
        ("1970-01-02T01:00:00%2B01:00", DAY_US),
        ("1970-01-02T01:00:00+01:00", DAY_US),
        ("1970-01-02T00:00:00.000001Z", DAY_US + 1),
        ("-90s", 1_780_000_000_000_000 - 90_000_000),
        ("-3m", 1_780_000_000_000_000 - 180_000_000),
        ("-24h", 1_780_000_000_000_000 - DAY_US),
        ("-2d", 1_780_000_000_000_000 - 2 * DAY_US),
        ("-1w", 1_780_000_000_000_000 - 7 * DAY_US),
        ("-999999999w", 0),
    ],
)
def test_times_are_absolute_dates_or_relative_to_the_current_second(text: str, us: int) -> None:
    assert ask(f"time_from={text}").at(NOW_US).time_from_us == us
    assert ask(f"time_to={text}").at(NOW_US).time_to_us == us


def test_only_relative_times_make_a_question_move_with_the_clock() -> None:
    assert ask("time_from=-1h").relative
    assert not ask("time_from=2026-01-01&actor=a").relative


@pytest.mark.parametrize(
    ("allowed", "asked", "tenants", "left"),
    [
        (None, "", None, 0),
        (None, "tenant_id=b&tenant_id=a", ("a", "b"), 0),
        (("a", "b"), "", ("a", "b"), 0),
        (("a", "b"), "tenant_id=b", ("b",), 0),
        (("a", "b"), "tenant_id=c", (), 0),
        (("a", "b"), "tenant_id!=b", ("a", "b"), 1),
        (("a",), "tenant_id=*", ("a",), 1),
        (("a",), "tenant_id=a*&tenant_id=c", ("a",), 1),
    ],
)
def test_a_tenant_filter_narrows_what_a_credential_reaches_and_never_widens_it(
    allowed: tuple[str, ...] | None, asked: str, tenants: tuple[str, ...] | None, left: int
) -> None:
    bound = scoped(ask(asked).query, allowed)
    assert (bound.tenants, len(bound.conditions)) == (tenants, left)


@given(st.lists(st.tuples(st.sampled_from((*NAMES, "x")) | st.text(max_size=12), st.text(max_size=12)), max_size=6))
def test_whatever_is_asked_is_a_question_or_a_named_problem(pairs: list[tuple[str, str]]) -> None:
    problem = None
    try:
        parse_parameters(pairs)
    except InvalidQuery as error:
        problem = error.problem
    assert problem is None or (problem.code and problem.detail)
