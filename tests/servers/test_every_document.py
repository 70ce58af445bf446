"""Every field of every kind of Elasticsearch document: who changes one is found, or it says why it is no matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pytest

from flow.attack_contract import honest_records
from flow.in_process import ended
from flow.running import record
from servers.deployment import PATIENCE_S, Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_attacks import ClusterAttacker
from servers.waiting import eventually
from trailseal.cli import EXIT_NO, EXIT_UNAVAILABLE, EXIT_USAGE
from trailseal.cli.verify import is_clean
from trailseal.errors import TrailsealError
from trailseal.sealing.origin import SealedLog
from trailseal.verification.trust import Trust
from trailseal.verification.whole import verify_logs

pytestmark = pytest.mark.timeout(600)

Steps = tuple[str | int, ...]

LATER_S = time.time() + 3_600
RECORDS = [record("e5", metadata={"n": 5}), record("e6"), *honest_records()[-284:]]
SEALED = len(RECORDS) + 1
OF_MANY_SHAPES = ("documents", "heads")
FOR_PEOPLE = "says in words what the record itself says"
ROW = "heads[head].rows.*"
COMMANDS = (("reconcile",), ("keys", "show"), ("search", "--all"))
NO_MATTER = {
    **dict.fromkeys(
        (
            f"heads[head].totals.{kind}"
            for kind in ("duplicates", "dead_letters", "gaps", "expired", "erased", "id_collisions")
        ),
        "a sum, which `trailseal reconcile` counts again",
    ),
    **dict.fromkeys((f"{ROW}.{name}" for name in ("code", "detail", "field", "tenant_id", "event_id")), FOR_PEOPLE),
    **dict.fromkeys((f"{ROW}.position.{place}" for place in (0, 1)), "rows stand under their head"),
    "documents.name": "documents are read by their id; a list by name is for months, and those are missed",
    "documents[seal/keys]": "the ledger's own list of keys: an auditor brings theirs",
    "checkpoints[older]": "the newest covers the same tree",
}


@pytest.fixture(scope="module")
def cluster(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Rows of the usual kinds, a full tile, two checkpoints, and no consumer any more."""
    folder = tmp_path_factory.mktemp("documents")
    with deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=1) as made:
        made.append(RECORDS[:9])
        consumer = made.consume()
        eventually(lambda: signed(made) == 10, PATIENCE_S)
        made.append(RECORDS[9:])
        eventually(lambda: signed(made) == SEALED, PATIENCE_S)
        consumer.kill()
        yield made


def signed(cluster: Deployment) -> int:
    newest = cluster.engines.ledger.seals.checkpoint(1, 0)
    return 0 if newest is None else newest.size


def leaves(value: Any, at: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Every value in a document that holds no others, and the way to it."""
    if isinstance(value, dict | list) and value:
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*at, name))
    else:
        yield at, value


def with_leaf(source: Any, at: Steps, instead: Any) -> Any:
    if not at:
        return instead
    copy = dict(source) if isinstance(source, dict) else list(source)
    copy[at[0]] = with_leaf(source[at[0]], at[1:], instead)
    return copy


def other(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str) and value:
        return [value[:-1] + ("A" if value[-1] != "A" else "B"), value[: len(value) // 8 * 4]]
    return [value + 1] if isinstance(value, int) else ["x"]


def wrong(value: Any) -> list[Any]:
    """Values of other types than the field is written with, and such that nothing decodes."""
    if isinstance(value, int):
        return ["a text", 1.5, None, 2**63]
    return ["!", "\ud800", 7, {"a": 1}] if value is None else ["!", "\ud800", 7, None]


def kind_of(part: str, name: str, source: dict[str, Any]) -> str:
    """Documents of one kind differ in nothing that verification looks at in another way."""
    if part == "heads":
        return name.partition(".")[0]
    if part == "checkpoints":
        return "newest" if source["size"] == SEALED else "older"
    if part == "documents":
        return name.rstrip("0123456789/.")
    if part == "kept":
        return "dead letter" if "value" in source else "duplicate"
    return "collision" if name.startswith("/") else ""


def names(part: str, kind: str, at: Steps) -> set[str]:
    """What a field is called above: ``*`` stands for any place in a list of more than single values."""
    *before, last = at
    way = ".".join([*("*" if isinstance(one, int) else one for one in before), str(last)])
    return {part, f"{part}[{kind}]", f"{part}.{way}", f"{part}[{kind}].{way}"}


class Documents:
    """One of each kind of document that a deployment has in Elasticsearch."""

    def __init__(self, raw: RawElasticsearch, prefix: str) -> None:
        self._raw = raw
        self.found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        for index in raw.indices(prefix):
            part = index.removeprefix(prefix).removeprefix("trailseal-").partition("-")[0]
            for hit in raw("GET", f"/{index}/_search?size=1000")["hits"]["hits"]:
                at = f"/{index}/_doc/{quote(hit['_id'], safe='')}?refresh=true"
                self.found.setdefault((part, kind_of(part, hit["_id"], hit["_source"])), (at, hit["_source"]))

    def put(self, at: str, source: dict[str, Any] | None) -> bool:
        """Write it so, or delete it; whether the index let it be so."""
        answer = self._raw("DELETE" if source is None else "PUT", at, source)
        return "error" not in answer

    def changes(self) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any] | None]]:
        """What is changed, where, the document as it was, and as it is made."""
        for (part, kind), (at, source) in self.found.items():
            for way, value in leaves(source):
                if not names(part, kind, way) & NO_MATTER.keys():
                    for instead in other(value):
                        yield f"{part}[{kind}].{way} = {instead}", at, source, with_leaf(source, way, instead)
            if f"{part}[{kind}]" not in NO_MATTER:
                yield f"{part}[{kind}] deleted", at, source, None

    def put_first(self, at: str, sources: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Write the first of these that the index lets be; None where it lets none."""
        return next((source for source in sources if self.put(at, source)), None)

    def wrong_fields(self) -> Iterator[tuple[str, bool, str, dict[str, Any], list[dict[str, Any]]]]:
        """Each field, one of each name, as what no Trailseal writes there, by turns; and whether it matters."""
        tried: set[str] = set()
        for (part, kind), (at, source) in self.found.items():
            for way, value in leaves(source):
                called = max(names(part, kind if part in OF_MANY_SHAPES else "", way), key=len)
                if called not in tried:
                    tried.add(called)
                    matters = not names(part, kind, way) & NO_MATTER.keys()
                    values = wrong(value)
                    turn = len(tried) % len(values)
                    wrongs = [with_leaf(source, way, one) for one in (*values[turn:], *values[:turn])]
                    yield called, matters, at, source, wrongs


Clean = Callable[[], bool]


@pytest.fixture
def clean(cluster: Deployment, raw: RawElasticsearch) -> Clean:
    """Tells whether `trailseal verify --key` would end with 0, an hour after the pipeline has stopped."""
    engines = cluster.engines
    log = SealedLog.stored(engines.ledger, 1, 0)
    assert log is not None
    trust = Trust(keys=ClusterAttacker(cluster, raw).keys().verifiers(log.origin))

    def later() -> float:
        return LATER_S

    def verified() -> bool:
        try:
            result = verify_logs(
                engines.log, engines.index, engines.ledger, trust, keeper=engines.keeper, now_s=later
            )
            return is_clean(result, trust)
        except TrailsealError:
            return False

    return verified


@pytest.fixture
def documents(cluster: Deployment, raw: RawElasticsearch) -> Documents:
    return Documents(raw, ClusterAttacker(cluster, raw).prefix)


def test_whoever_changes_a_document_is_found_or_it_is_no_matter(clean: Clean, documents: Documents) -> None:
    assert clean()
    passed = []
    tried = 0
    for what, at, before, after in documents.changes():
        if documents.put(at, after):
            tried += 1
            if clean():
                passed.append(what)
            assert documents.put(at, before)
    assert clean()
    assert not passed
    assert tried > 100


def test_a_field_of_another_type_is_found_and_never_a_traceback(clean: Clean, documents: Documents) -> None:
    passed = []
    tried = 0
    for called, matters, at, before, wrongs in documents.wrong_fields():
        after = documents.put_first(at, wrongs)
        if after is not None:
            tried += 1
            if clean() and matters:
                passed.append((called, after))
            assert documents.put(at, before)
    assert clean()
    assert not passed
    assert tried > 60


def test_other_commands_say_in_one_line_that_a_field_cannot_be_read(
    cluster: Deployment, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    said: set[str] = set()
    for called, _, at, before, wrongs in documents.wrong_fields():
        if documents.put_first(at, wrongs) is not None:
            for words in COMMANDS:
                status, told = ended(*words)
                assert status in {0, EXIT_NO, EXIT_USAGE, EXIT_UNAVAILABLE}, (called, told)
                assert told.count("\n") <= 1, (called, told)
                said.add(told)
            assert documents.put(at, before)
    assert any("restore" in line for line in said)


def test_what_is_no_matter_is_there(documents: Documents) -> None:
    known = {
        name
        for (part, kind), (_, source) in documents.found.items()
        for way, _ in leaves(source)
        for name in names(part, kind, way)
    }
    assert known >= NO_MATTER.keys()
