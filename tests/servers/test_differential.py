"""One set of records through both profiles: every question has the same answer, page by page, in both orders."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import consumer_of, opened
from flow.running import caught_up, running
from servers.deployment import PATIENCE_S, Deployment, deployment
from servers.waiting import eventually
from trailseal.bootstrap import Engines
from trailseal.event_consumer.books import reconcile
from trailseal.event_consumer.import_records import RecordMaker
from trailseal.model.record import HEADER_SALT, NewRecord
from trailseal.query.parsing import parse_parameters
from trailseal.query.service import QueryService

EVENTS = int(os.environ.get("TRAILSEAL_TEST_DIFFERENTIAL_EVENTS", "20000"))
"""Generated records; 100,000 where there is the time for it."""
QUESTIONS = 150
FEW = 5_000
"""An answer of more events is compared page by page in its first pages alone, but for every tenth question."""
FIRST_PAGES = 3
pytestmark = pytest.mark.timeout(600 + EVENTS // 50)
ACTORS = ["alice", "bob@acme.example", "Ωmega", "svc/builder", "a*b", "x" * 1_500]
ACTIONS = ["user.login", "user.logout", "document.read", "document_shared", "Key.Rotated"]
ADDRESSES = ["10.0.0.7", "10.0.3.9", "192.0.2.1", "2001:db8::7", "::ffff:10.0.0.8"]
START = 1_772_000_000
Pairs = list[tuple[str, str]]


def generated(count: int) -> Iterator[NewRecord]:
    """Events that differ in everything that can be asked for; some are repeated, some are no events."""
    rng = random.Random(4)
    earlier: list[NewRecord] = []
    for number in range(count):
        if rng.random() < 0.02 and earlier:
            yield rng.choice(earlier)
            continue
        if rng.random() < 0.01:
            yield NewRecord(b"no event %d" % number, b"acme", ((HEADER_SALT, rng.randbytes(32)),))
            continue
        body: dict[str, Any] = {
            "id": f"e{number}",
            "timestamp": _time(START + rng.randrange(90 * 86_400), rng.choice([0, 0, 1, 999_999])),
            "tenant_id": rng.choice(["acme", "globex", "initech"]),
            "actor": {"id": rng.choice(ACTORS)},
            "action": rng.choice(ACTIONS),
            "outcome": rng.choice(["success", "success", "failure", "denied"]),
            "metadata": {"n": number % 50, "deep": {"tag": [*rng.choices("abcxyz", k=2)]}, "text": "Łódź 7"},
        }
        if rng.random() < 0.7:
            body["resource"] = {"type": rng.choice(["document", "key"]), "id": str(number % 40)}
        if rng.random() < 0.6:
            body["context"] = {"source_ip": rng.choice(ADDRESSES), "request_id": f"r{number % 30}"}
        made = NewRecord(json.dumps(body).encode(), body["tenant_id"].encode(), ((HEADER_SALT, rng.randbytes(32)),))
        earlier.append(made)
        yield made


def real() -> Iterator[NewRecord]:
    """CloudTrail records, where a folder with some is named."""
    folder = os.environ.get("TRAILSEAL_TEST_REAL_DATA")
    if folder is None:
        return
    maker = RecordMaker("cloudtrail-owner", "cloudtrail")
    with gzip.open(Path(folder) / "cloudtrail-2900.ndjson.gz") as lines:
        for number, line in enumerate(lines):
            yield maker.make(line.strip(), lambda number=number: f"line-{number}")  # type: ignore[misc] # bound now


def _time(seconds: int, micros: int) -> str:
    made = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)
    return made.isoformat().replace("+00:00", "Z")


@dataclass
class Profiles:
    """Both profiles with the same records taken in."""

    embedded: QueryService
    cluster: QueryService


def service(engines: Engines) -> QueryService:
    return QueryService(engines.index, engines.cache, engines.clock, engines.secret, None)


@pytest.fixture(scope="module")
def profiles(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Profiles]:
    folder = tmp_path_factory.mktemp("differential")
    records = [*generated(EVENTS), *real()]
    with (
        opened(folder / "data") as engines,
        deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=3) as cluster,
    ):
        with running(consumer_of(engines)):
            _append(engines, records)
            _append(cluster.engines, records)
            cluster.consume()
            eventually(lambda: caught_up(engines.log, engines.ledger), PATIENCE_S + EVENTS / 100)
            cluster.wait_until_taken_in(PATIENCE_S + EVENTS / 100)
        cluster.engines.index.refresh()
        _compare_books(engines, cluster)
        yield Profiles(service(engines), service(cluster.engines))


def _append(engines: Engines, records: Sequence[NewRecord]) -> None:
    for start in range(0, len(records), 1_000):
        engines.log.append(records[start : start + 1_000])


def _compare_books(engines: Engines, cluster: Deployment) -> None:
    """What was taken in became the same in both, whatever partition it went through."""
    ours = reconcile(engines.log, engines.index, engines.ledger)
    theirs = cluster.check_books()
    assert ours.balanced, ours.findings
    for name in ("taken_in", "indexed", "duplicates", "dead_letters", "id_collisions"):
        sums = [sum(getattr(one, name) for one in each.books) for each in (ours, theirs)]
        assert sums[0] == sums[1], name


def question(rng: random.Random) -> Pairs:
    """A question of one to four conditions, any of them negated, prefixes and networks among them."""
    known = {
        "actor": [*ACTORS[:4], "a\\*b", "ali*", "nobody", "Ω*", "x" * 1_500],
        "action": [*ACTIONS, "document*", "user.*"],
        "tenant_id": ["acme", "globex", "in*"],
        "outcome": ["failure", "denied"],
        "resource": ["document/7", "key/*", "document/1*"],
        "resource_type": ["document", "k*"],
        "source_ip": ["10.0.0.7", "10.0.0.0/16", "2001:db8::/32", "10.0.0.8"],
        "request_id": ["r7", "r1*"],
        "id": ["e7", "e10*"],
        "metadata.n": ["7", "12"],
        "metadata.deep.tag": ["a", "x", "*"],
    }
    pairs: Pairs = []
    for name in rng.sample(sorted(known), rng.randrange(4)):
        sign = "!" if rng.random() < 0.3 else ""
        pairs += [(name + sign, value) for value in rng.sample(known[name], rng.randrange(1, 3))]
    if rng.random() < 0.3:
        pairs.append(("q", rng.choice(["alice", "łódź", "document_shared", "acme.example", "rot*", "7 alice"])))
    if rng.random() < 0.5:
        first = START + rng.randrange(60 * 86_400)
        pairs.append(("time_from", _time(first, 0)))
        pairs.append(("time_to", _time(first + rng.randrange(1, 40 * 86_400), 1)))
    return pairs


def pages(service: QueryService, pairs: Pairs, order: str, limit: int, most: int | None) -> list[list[str]]:
    """Every page as (tenant, id) texts, in order; at most so many."""
    found: list[list[str]] = []
    cursor: str | None = None
    while True:
        paging = [("order", order), ("limit", str(limit)), *([("cursor", cursor)] if cursor else [])]
        answer = service.search(service.plan(parse_parameters([*pairs, *paging]), None))
        events = json.loads(answer.body)["events"]
        found.append([f"{event['timestamp']} {event['tenant_id']}/{event['id']}" for event in events])
        cursor = answer.next_cursor
        if cursor is None or len(found) == most:
            return found


def test_both_profiles_answer_every_question_alike(profiles: Profiles) -> None:
    rng = random.Random(9)
    matched = 0
    for number in range(QUESTIONS):
        pairs = question(rng)
        ours, theirs = (
            json.loads(one.count(one.plan(parse_parameters(pairs, beside=()), None)).body)
            for one in (profiles.embedded, profiles.cluster)
        )
        assert ours == theirs, pairs
        matched += ours["count"] > 0
        order = rng.choice(["asc", "desc"])
        limit = rng.choice([7, 100, 1_000]) if ours["count"] < 400 else 1_000
        most = FIRST_PAGES if ours["count"] > FEW and number % 10 else None
        told = [pages(one, pairs, order, limit, most) for one in (profiles.embedded, profiles.cluster)]
        assert told[0] == told[1], pairs
    assert matched > QUESTIONS // 3, "the questions find something"


def test_an_event_is_shown_alike(profiles: Profiles) -> None:
    for event_id in ("e7", "e123", "e999"):
        ours, theirs = (
            json.loads(one.event(event_id, None, with_record=True)) for one in (profiles.embedded, profiles.cluster)
        )
        for shown in (ours, theirs):
            del shown["position"], shown["received_at"]
        assert ours == theirs
