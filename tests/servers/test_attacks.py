"""Somebody edits the real Elasticsearch documents: the attack suite of the cluster.

One log is taken in, sealed and signed once; each test attacks it document by document, and puts back what it did.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from flow.attack_contract import EARLIER, RECORDS, AttackContract, changed, honest_records
from servers.deployment import PATIENCE_S, Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually
from trailseal.adapters.elasticsearch.options import options_from_url
from trailseal.adapters.elasticsearch.records import stored_record
from trailseal.adapters.indexes.elasticsearch.documents import event_document
from trailseal.adapters.ledgers.elasticsearch.heads import head_id
from trailseal.adapters.ledgers.elasticsearch.rows import RowDocument, row_id
from trailseal.bootstrap import Engines
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Record
from trailseal.sealing.keys import KeyFile, KeyRing

pytestmark = pytest.mark.timeout(300)


class ClusterAttacker:
    """Writes past the product to a deployment's documents; see `flow.attack_contract.Attacker`."""

    def __init__(self, cluster: Deployment, raw: RawElasticsearch) -> None:
        self.cluster, self.raw = cluster, raw
        self.prefix = options_from_url(cluster.environment["TRAILSEAL_INDEX"]).prefix
        self._undo: list[Callable[[], object]] = []

    def engines(self) -> Engines:
        return self.cluster.engines

    def keys(self) -> KeyRing:
        return KeyFile(self.cluster.folder / "seal.key").ring()

    def put_back(self) -> None:
        """Undo everything, the last first."""
        while self._undo:
            self._undo.pop()()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A request that has to work."""
        answer = self.raw(method, path, body)
        assert "error" not in answer, answer
        return answer

    def undoing(self, undo: Callable[[], object]) -> None:
        """Remember how to put something back."""
        self._undo.append(undo)

    def put(self, index: str, name: str, source: object) -> None:
        """Write a document over whatever is there, or delete it where the source is None; undone afterwards."""
        at = f"/{self.prefix}{index}/_doc/{quote(name, safe='')}"
        known = self.raw("GET", at)
        before = known["_source"] if known.get("found") else None
        self._undo.append(lambda: self._write(at, before))
        self._write(at, source)

    def _write(self, at: str, source: object) -> None:
        if source is None:
            self.raw("DELETE", f"{at}?refresh=true")
        else:
            self.call("PUT", f"{at}?refresh=true", source)

    def replace_document(self, of: Entry, instead: Entry | None) -> None:
        self.put(f"audit-{of.month}", of.document_id, None if instead is None else _json(event_document(instead)))

    def add_document(self, more: Entry) -> None:
        self.replace_document(more, more)

    def add_row(self, row: OutcomeRow) -> None:
        position = row.position
        last = position.offset + row.count - 1
        made = RowDocument(position.log, position.partition, position.offset, last, row.kind, row, row.code)
        self.put("trailseal-outcomes", row_id(row), _json(made))

    def keep(self, record: Record) -> None:
        at = record.position
        self.put("trailseal-kept", f"{at.log}.{at.partition}.{at.offset}", _json(stored_record(record)))

    def put_tile(self, root: bytes, data: bytes | None) -> None:
        source = None if data is None else {"data": base64.b64encode(data).decode()}
        self.put("trailseal-tiles", root.hex(), source)

    def put_head(self, following: int, seal: bytes) -> None:
        head = self.raw("GET", f"/{self.prefix}trailseal-heads/_doc/{head_id(1, 0)}")["_source"]
        last_step = head.get("rows", []) if following == head["next"] else []
        changes = {"next": following, "seal": base64.b64encode(seal).decode(), "rows": last_step}
        self.put("trailseal-heads", head_id(1, 0), head | changes)

    def put_checkpoints(self, notes: Sequence[tuple[int, bytes]]) -> None:
        for stored in self.engines().ledger.seals.checkpoints(1, 0, limit=1000):
            self.put("trailseal-checkpoints", f"1.0.{stored.size}", None)
        for size, note in notes:
            source = {"log": 1, "partition": 0, "size": size, "note": base64.b64encode(note).decode()}
            self.put("trailseal-checkpoints", f"1.0.{size}", source)

    def put_genesis(self, body: bytes) -> None:
        name = "seal/genesis/1/0"
        self.put("trailseal-documents", name, {"name": name, "content": {"text": body.decode()}})


def _json(value: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(value))


@pytest.fixture(scope="module")
def cluster(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("attacked")
    with deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=1) as made:
        records = honest_records()
        made.append(records[:EARLIER])
        consumer = made.consume()
        eventually(lambda: _signed(made) == EARLIER + 1, PATIENCE_S)
        made.append(records[EARLIER:])
        eventually(lambda: _signed(made) == RECORDS + 1, PATIENCE_S)
        consumer.kill()  # everything is signed, and nothing may change while it is attacked
        yield made


def _signed(cluster: Deployment) -> int:
    """Leaves of the newest checkpoint."""
    newest = cluster.engines.ledger.seals.checkpoint(1, 0)
    return 0 if newest is None else newest.size


class TestClusterAttacks(AttackContract):
    """The contract, on Elasticsearch; and what only Elasticsearch can have done to it."""

    @pytest.fixture
    def attacker(self, cluster: Deployment, raw: RawElasticsearch) -> Iterator[ClusterAttacker]:
        made = ClusterAttacker(cluster, raw)
        yield made
        made.put_back()

    @pytest.fixture
    def index(self, attacker: ClusterAttacker) -> str:
        """The one month's concrete index."""
        (name,) = attacker.call("GET", f"/_alias/{attacker.prefix}audit-2026.03")
        return str(name)

    def test_an_edited_record_in_a_document_is_named(self, attacker: ClusterAttacker) -> None:
        true = self.entry_at(41)
        document = _json(event_document(true))
        document["record"]["value"] = document["record"]["value"].replace("alice", "mallory")
        attacker.put(f"audit-{true.month}", true.document_id, document)
        (one,) = self.verified().suspicions
        assert (one.kind, one.event_id, one.detail) == ("edited-projection", "e41", "the field record")

    def test_a_record_that_is_passed_off_as_a_subjects_is_told_and_not_named(
        self, cluster: Deployment, attacker: ClusterAttacker
    ) -> None:
        true = self.entry_at(41)
        theirs = msgspec.structs.replace(true.record, value=(true.record.value or b"").replace(b"alice", b"eve"))
        attacker.replace_document(true, msgspec.structs.replace(changed(true, actor="eve"), record=theirs))
        told = cluster.run("erase", "--tenant", "acme", "--actor", "eve", "--reason", "ticket 7")
        assert told.returncode == 2, told.stderr
        assert "Not ordered: 1/0/41, its record is not the one that was sealed there" in told.stderr

    def test_an_event_marked_as_erased_is_missing(self, attacker: ClusterAttacker) -> None:
        true = self.entry_at(41)
        attacker.put(f"audit-{true.month}", true.document_id, _json(event_document(true)) | {"erased": True})
        assert self.found() == [("missing-document", 41)]

    def test_an_alias_that_lets_searches_find_a_part_only_is_found(
        self, attacker: ClusterAttacker, index: str
    ) -> None:
        alias = f"{attacker.prefix}audit-2026.03"
        honest = {"index": index, "alias": alias, "is_write_index": True}
        hiding = honest | {"filter": {"bool": {"must_not": {"term": {"id": "e41"}}}}}
        attacker.undoing(lambda: attacker.call("POST", "/_aliases", {"actions": [{"add": honest}]}))
        attacker.call("POST", "/_aliases", {"actions": [{"add": hiding}]})
        suspicions = self.verified().suspicions
        assert [(one.kind, one.event_id) for one in suspicions] == [
            ("missing-document", "e41"),
            ("altered-index", None),
        ]

    def test_a_month_taken_off_the_register_is_missed_event_by_event(self, attacker: ClusterAttacker) -> None:
        attacker.put("trailseal-documents", "index/months/2026.03", None)
        found = self.found()
        assert ("missing-document", 41) in found
        assert {kind for kind, _ in found} == {"missing-document"}

    def test_a_document_without_a_position_is_foreign(self, attacker: ClusterAttacker) -> None:
        document = _json(event_document(changed(self.entry_at(41), id="forged")))
        for name in ("log", "partition", "offset"):
            del document[name]
        attacker.put("audit-2026.03", "acme/forged", document)
        (one,) = self.verified().suspicions
        assert (one.kind, one.detail) == ("foreign-document", "1 that name no log and partition")

    def test_a_false_term_that_no_document_shows_is_found_by_the_mapping(
        self, attacker: ClusterAttacker, index: str
    ) -> None:
        """A field copied into another one, a document indexed anew, the mapping changed back."""
        attacker.undoing(lambda: self._made_anew(attacker, index))
        true = self.entry_at(41)
        self._copy_action_to(attacker, index, ["actor"])
        attacker.replace_document(true, true)
        self._copy_action_to(attacker, index, [])
        lie = {"query": {"term": {"actor": "document.read"}}}
        assert attacker.call("POST", f"/{index}/_search", lie)["hits"]["total"]["value"] == 1
        (one,) = self.verified().suspicions
        assert one.kind == "altered-index"
        assert f"the mapping of {index} was changed and changed back" in str(one)

    def _copy_action_to(self, attacker: ClusterAttacker, index: str, fields: list[str]) -> None:
        mapping = {"properties": {"action": {"type": "keyword", "copy_to": fields}}}
        attacker.call("PUT", f"/{index}/_mapping", mapping)

    def _made_anew(self, attacker: ClusterAttacker, index: str) -> None:
        """The month as it was, by the product's own means."""
        done = attacker.cluster.run("reproject", "--month", "2026-03")
        assert done.returncode == 0, done.stderr
        attacker.call("DELETE", f"/{index}")
