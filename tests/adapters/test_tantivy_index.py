from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.entries import Shelf, known
from conformance.index_contract import ErasableIndexContract, IndexContract, Reopen
from trailseal.adapters.indexes.tantivy_index import TantivyIndex
from trailseal.adapters.indexes.tantivy_index.schema import counted, terms_of
from trailseal.errors import Rebuilding, UsageError
from trailseal.model.query import Query
from trailseal.model.record import Position
from trailseal.ports.index import EventIndex, Present, Stored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def _open(folder: Path, shelf: Shelf, *, read_only: bool = False) -> TantivyIndex:
    return TantivyIndex(folder, records=shelf, refresh_interval_s=0.1, read_only=read_only)


class TestTantivyIndex(IndexContract, ErasableIndexContract):
    @pytest.fixture
    def index(self, shelf: Shelf, folder: Path) -> Iterator[EventIndex]:
        opened = _open(folder, shelf)
        opened.begin_rebuild()
        opened.mark_complete()
        yield opened
        opened.close()

    @pytest.fixture
    def reopen(self, index: EventIndex, shelf: Shelf, folder: Path) -> Iterator[Reopen]:
        handles: list[EventIndex] = [index]

        def again() -> EventIndex:
            handles[-1].close()
            handles.append(_open(folder, shelf))
            return handles[-1]

        yield again
        handles[-1].close()


def _filled(folder: Path, shelf: Shelf, count: int = 5) -> TantivyIndex:
    index = _open(folder, shelf)
    index.begin_rebuild()
    events = [known(n) for n in range(count)]
    shelf.keep(each.entry for each in events)
    index.put([each.entry for each in events])
    index.flush()
    index.mark_complete()
    index.refresh()
    return index


def test_terms_are_counted_as_they_are_given_out() -> None:
    plain = [known(number).entry for number in range(3)]
    odd: list[dict[str, Any]] = [
        {"words": ""},
        {"words": "again once again"},
        {"metadata": ("a.b\x1fsx", "a.b\x1fsx", "a.b\x1fsy", "c\x1fn1")},
        {"metadata": (), "resource": None, "resource_type": None, "request_id": None, "source_ip": None},
        {"resource": "r", "resource_type": "t", "request_id": "q", "source_ip": "192.0.2.7"},
    ]
    for changed in odd:
        projection = msgspec.structs.replace(plain[0].projection, **changed)
        plain.append(msgspec.structs.replace(plain[0], projection=projection))
    for entry in plain:
        assert counted([entry]) == Counter(name for name, _ in terms_of(entry))
    assert counted(plain) == Counter(name for entry in plain for name, _ in terms_of(entry))


def test_a_missing_folder_is_incomplete_and_is_made_at_the_first_write(folder: Path) -> None:
    index = _open(folder, Shelf())
    assert not index.is_complete()
    with pytest.raises(Rebuilding):
        index.search(Query(), None, 1)
    assert not folder.exists()
    assert index.put([known(0).entry]) == [Stored()]
    assert not index.is_complete()
    index.close()


def test_a_reader_beside_the_writer_sees_each_flush(folder: Path) -> None:
    shelf = Shelf()
    writer = _filled(folder, shelf)
    reader = _open(folder, shelf, read_only=True)
    assert reader.count(Query()).value == 5
    more = known(9)
    shelf.keep([more.entry])
    writer.put([more.entry])
    assert reader.count(Query()).value == 5
    writer.flush()
    assert reader.count(Query()).value == 6
    writer.close()


def test_a_reader_outlives_a_rebuild_by_another_handle(folder: Path) -> None:
    shelf = Shelf()
    writer = _filled(folder, shelf)
    reader = _open(folder, shelf, read_only=True)
    assert reader.count(Query()).value == 5
    writer.begin_rebuild()
    with pytest.raises(Rebuilding):
        reader.count(Query())
    writer.put([known(0).entry])
    writer.flush()
    writer.mark_complete()
    assert reader.count(Query()).value == 1
    writer.close()


def test_a_handle_for_reading_refuses_to_write(folder: Path) -> None:
    reader = _open(folder, Shelf(), read_only=True)
    for write in (reader.begin_rebuild, reader.mark_complete, reader.flush, lambda: reader.put([])):
        with pytest.raises(UsageError):
            write()


@pytest.mark.parametrize("damage", ["marker", "meta", "version"])
def test_a_folder_that_cannot_be_trusted_is_incomplete(folder: Path, damage: str) -> None:
    shelf = Shelf()
    _filled(folder, shelf).close()
    if damage == "marker":
        (folder / "complete.json").unlink()
    elif damage == "meta":
        (folder / "meta.json").write_text("{")
    else:
        (folder / "complete.json").write_text('{"layout":0,"projection":1}')
    index = _open(folder, shelf)
    if damage != "meta":
        assert not index.is_complete()
    with pytest.raises(Rebuilding):
        index.search(Query(), None, 1)
    index.begin_rebuild()
    assert index.put([known(0).entry]) == [Stored()]
    index.close()


def test_what_was_not_flushed_is_forgotten_and_may_be_put_again(folder: Path) -> None:
    shelf = Shelf()
    index = _filled(folder, shelf)
    index.put([known(7).entry])
    index.close()
    again = _open(folder, shelf)
    assert again.put([known(7).entry, known(0).entry])[0] == Stored()
    assert isinstance(again.put([known(0).entry])[0], Present)
    again.close()


def test_deleting_the_folder_under_a_reader_makes_it_incomplete(folder: Path) -> None:
    shelf = Shelf()
    _filled(folder, shelf).close()
    reader = _open(folder, shelf, read_only=True)
    assert reader.count(Query()).value == 5
    shutil.rmtree(folder)
    assert not reader.is_complete()
    with pytest.raises(Rebuilding):
        reader.count(Query())


def test_no_byte_of_an_erased_document_is_left_in_the_folder(folder: Path) -> None:
    shelf = Shelf()
    index = _open(folder, shelf)
    index.begin_rebuild()
    events = [known(n, event_id=f"{n:02}xyz{n}", actor=f"{n:02}subject{n}") for n in range(40)]
    shelf.keep(each.entry for each in events)
    for each in events:
        index.put([each.entry])
        index.flush()
    index.mark_complete()
    by_position = {each.key.position: each.entry for each in events}
    index.erase([Position(1, 0, 7)], lambda positions: [[by_position[position] for position in positions]])
    index.refresh()
    assert index.count(Query()).value == 39
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"8subject8" in held
    assert b"7subject7" not in held
    assert b"7xyz7" not in held
    index.close()
