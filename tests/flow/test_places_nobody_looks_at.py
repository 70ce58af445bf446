"""What stands where no partition's own check looks: documents, heads, partitions, logs that are said to be gone."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tantivy

from flow.attack_contract import EVENTS, honest_records
from flow.embedded import opened
from flow.running import record
from flow.test_attacks import edited, log_key, newest_checkpoint, run_pipeline, verified
from flow.test_commands import trailseal
from trailseal.adapters.indexes.tantivy_index.schema import document, identity_number
from trailseal.cli.verify import is_clean
from trailseal.formats import decode_record
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.model.projection import entry
from trailseal.model.record import Record
from trailseal.verification.trust import Trust


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("places") / "data"
    run_pipeline(data, *honest_records()[EVENTS - 20 :])
    return data


@pytest.fixture
def data(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "data"))


def later() -> float:
    return time.time() + 3_600


def clean(data: Path, **trust: Any) -> bool:
    """Whether `trailseal verify` would end with 0, an hour after the pipeline has stopped."""
    return is_clean(verified(data, now_s=later, **trust), Trust(**trust))


def written_by_hand(data: Path, **fields: Any) -> None:
    """A copy of an event's document, under another id, with other fields, as somebody with tantivy can write it."""
    with opened(data, "read") as engines:
        (item,) = engines.log.read(0, 3, 1, 1 << 20)
        assert isinstance(item, Record)
        made = decode_record(item, engines.log.origin)
        true = entry(item, made.event, made.format, made.words)
    forged = msgspec.structs.replace(
        true, document_id="acme/forged", projection=msgspec.structs.replace(true.projection, id="forged")
    )
    text = json.loads(document(forged, identity_number(forged.month, forged.document_id)))
    writer = tantivy.Index.open(str(data / "index")).writer()
    writer.add_json(json.dumps(text | fields))
    writer.commit()
    writer.wait_merging_threads()


def test_the_honest_log_is_clean(data: Path) -> None:
    assert clean(data)


@pytest.mark.parametrize(
    "fields",
    [{"block": "no block"}, {"block": "no block", "offset": 1 << 40}, {"block": "1/0/77", "offset": 1 << 40}],
)
def test_a_document_that_no_search_by_offset_comes_upon_is_found(data: Path, fields: dict[str, Any]) -> None:
    written_by_hand(data, **fields)
    assert {one.kind for one in verified(data).suspicions} & {"foreign-document", "edited-projection"}


def test_an_event_asked_for_by_an_id_that_its_record_does_not_have_is_foreign(data: Path) -> None:
    written_by_hand(data, block="no block", offset=1 << 40)
    done = trailseal("verify", "--id", "forged", "--form", "ndjson", data=data)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kind"] == "foreign-document"


def test_a_head_made_up_for_documents_does_not_hide_them(data: Path) -> None:
    written_by_hand(data, partition=(1 << 32) + 7, block="1/7/0")
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("INSERT INTO heads (log, partition, base, next, version) VALUES (1, 7, 0, 0, 1)")
    assert [(one.kind, str(one.position)) for one in verified(data).suspicions] == [("foreign-document", "1/7/3")]
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE heads SET next = 9 WHERE partition = 7")
    assert not clean(data)


@pytest.mark.parametrize("table", ["heads", "logs"])
def test_a_log_that_the_books_do_not_know_is_not_clean(data: Path, table: str) -> None:
    with edited(data / "ledger.sqlite") as ledger:
        ledger.execute(f"DELETE FROM {table}")  # noqa: S608 - literals above
    result = verified_without_keys(data)
    assert any("is not in the ledger's books" in sentence for sentence in result)


def verified_without_keys(data: Path) -> tuple[str, ...]:
    done = trailseal("verify", "--form", "ndjson", data=data)
    assert done.returncode in (1, 2), done.stdout
    return tuple(done.stderr.decode().splitlines())


def test_a_checkpoint_kept_of_the_first_of_three_epochs_is_held_against_its_tree(tmp_path: Path) -> None:
    at, kept = tmp_path / "first", list[Checkpoint]()
    run_pipeline(at, *(record(f"e{number}") for number in range(9)))
    for number, name in enumerate(("second", "third"), 1):
        kept.append(newest_checkpoint(at, number))
        backup = tmp_path / f"backup-{name}"
        for words, folder in (
            (("backup", str(backup), "--with-keys"), at),
            (("restore", str(backup)), tmp_path / name),
        ):
            done = trailseal(*words, data=folder)
            assert done.returncode == 0, done.stderr
        at = tmp_path / name
        run_pipeline(at)
    assert len({one.origin for one in kept}) == len(kept)
    key = log_key(at, 3)
    assert clean(at, keys=(key,), kept=tuple(kept))
    for one in kept:
        false = Checkpoint(one.origin, one.size, bytes(32))
        assert [found.kind for found in verified(at, keys=(key,), kept=(false,)).suspicions] == ["forked"]
    larger = Checkpoint(kept[0].origin, 99, bytes(32))
    assert [found.kind for found in verified(at, keys=(key,), kept=(larger,)).suspicions] == ["rolled-back"]
