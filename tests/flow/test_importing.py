"""Import: everything goes in once, again changes nothing, and the summary adds up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from flow.embedded import assert_balanced, import_into, offsets, opened
from flow.running import event
from trailseal.bootstrap import Engines
from trailseal.errors import UsageError
from trailseal.event_consumer.import_results import ImportResult
from trailseal.event_consumer.import_sources import find_sources
from trailseal.event_consumer.importing import ImportProgress
from trailseal.model.record import HEADER_FORMAT, HEADER_ID, HEADER_SALT, HEADER_TENANT

CLOUDTRAIL = {
    "eventVersion": "1.08",
    "eventTime": "2026-02-03T04:05:06Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/alice", "userName": "alice"},
    "sourceIPAddress": "203.0.113.7",
    "recipientAccountId": "123456789012",
}


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    with opened(tmp_path / "data", "import") as made:
        yield made


def _lines(*values: bytes) -> bytes:
    return b"".join(value + b"\n" for value in values)


def _adds_up(result: ImportResult) -> bool:
    parts = (
        result.new,
        result.already_there,
        result.duplicates,
        result.dead_letters,
        result.erased,
        result.expired,
        result.unreadable,
    )
    return result.read == sum(parts)


def test_an_import_takes_everything_in_and_again_finds_it_all_there(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(
        _lines(*(event(f"e{n}") for n in range(500)), event("e3"), b"{broken", event(None), event(None))
    )
    first = import_into(engines, [file])
    assert (first.new, first.duplicates, first.dead_letters, first.already_there) == (502, 1, 1, 0)
    assert first.read == 504
    assert _adds_up(first)
    second = import_into(engines, [file])
    assert (second.new, second.duplicates, second.dead_letters, second.already_there) == (0, 0, 1, 503)
    assert _adds_up(second)
    assert len(offsets(engines)) == 502
    assert_balanced(engines)


def test_dead_letters_are_told_with_file_and_line(engines: Engines, tmp_path: Path) -> None:
    one, two = tmp_path / "1.ndjson", tmp_path / "2.ndjson"
    one.write_bytes(_lines(event("a"), b"", b"[[[", event("b")))
    two.write_bytes(_lines(event("c"), event("d"), b'{"id": 7}'))
    result = import_into(engines, [tmp_path / "1.ndjson", two])
    assert [(problem.source, problem.line) for problem in result.problems] == [(str(one), 3), (str(two), 3)]
    for problem in result.problems:
        assert problem.position is not None
        assert engines.ledger.kept(problem.position) is not None


def test_the_value_is_untouched_and_what_is_known_goes_into_headers(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    value = b'{ "actor":"al", "timestamp":"2026-01-01T00:00:00Z",\t"action":"x.y", "tenant_id":"body" }'
    file.write_bytes(b"[" + value + b" , " + event("mine") + b"]")
    import_into(engines, [file], tenant="globex")
    first, second = engines.log.read(0, 0, 10, 1 << 20)
    assert first.value == value  # type: ignore[union-attr] # an embedded log has no gaps
    headers = dict(first.headers)  # type: ignore[union-attr] # the same
    assert headers[HEADER_TENANT] == b"globex"
    assert headers[HEADER_FORMAT] == b"native"
    assert headers[HEADER_ID] == sha256(b"[" + value).hexdigest().encode()
    assert len(headers[HEADER_SALT] or b"") == 32
    others = dict(second.headers)  # type: ignore[union-attr] # the same
    assert HEADER_ID not in others
    assert others[HEADER_SALT] != headers[HEADER_SALT]


def test_a_grown_file_adds_only_what_is_new_even_without_ids(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    same = event(None)
    file.write_bytes(_lines(same, same))
    assert import_into(engines, [file]).new == 2
    file.write_bytes(_lines(same, same, same))
    grown = import_into(engines, [file])
    assert (grown.new, grown.already_there) == (1, 2)


def test_gzip_folders_arrays_cloudtrail_and_standard_input_are_read(engines: Engines, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.json.gz").write_bytes(
        gzip.compress(json.dumps({"Records": [CLOUDTRAIL, CLOUDTRAIL | {"eventID": "x-1"}]}).encode())
    )
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(_lines(event("b1"))) + gzip.compress(_lines(event("b2"))))
    (folder / ".hidden").write_bytes(b"not an event")
    result = import_into(engines, [folder, "-"], stdin=b"[" + event("s1") + b"," + event("s2") + b"]")
    assert (result.new, result.read, result.sources) == (6, 6, 3)
    assert import_into(engines, [folder]).already_there == 4


def test_a_cut_off_gzip_file_gives_what_it_has_and_is_named(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    lines = _lines(*(event(f"e{n}", metadata={"n": sha256(str(n).encode()).hexdigest()}) for n in range(2_000)))
    file.write_bytes(gzip.compress(lines)[:30_000])
    result = import_into(engines, [file])
    assert 0 < result.new < 2_000
    assert result.sources == 0
    assert [(problem.source, problem.code) for problem in result.problems if problem.line is None] == [
        (str(file), "unreadable-input")
    ]
    assert _adds_up(result)


def test_a_record_too_long_to_hold_is_counted_and_named(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "long.ndjson"
    file.write_bytes(_lines(event("a"), b'{"id": "' + b"x" * (2 << 20) + b'"}', event("b")))
    result = import_into(engines, [file])
    assert (result.read, result.new, result.unreadable) == (3, 2, 1)
    assert [(problem.line, problem.position) for problem in result.problems] == [(2, None)]


def test_an_id_taken_by_another_event_is_counted_among_the_new(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "collide.ndjson"
    file.write_bytes(_lines(event("a"), event("a", action="other.thing")))
    result = import_into(engines, [file])
    assert (result.new, result.id_collisions, result.duplicates) == (2, 1, 0)
    again = import_into(engines, [file])
    assert (again.new, again.already_there) == (1, 1)


def test_progress_grows_to_the_end(engines: Engines, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(_lines(*(event(f"e{n}") for n in range(12_000))))
    told: list[ImportProgress] = []
    import_into(engines, [file], told=told)
    last = told[-1]
    assert (last.appended, last.taken_in) == (12_000, 12_000)
    assert last.bytes_read == last.bytes_total == file.stat().st_size
    assert [progress.appended for progress in told] == sorted(progress.appended for progress in told)
    assert all(progress.taken_in <= progress.appended for progress in told)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(["nowhere.json"], {}), ([], {"tenant": "a/b"}), ([], {"format_name": "syslog"})],
)
def test_what_cannot_work_is_refused_before_anything_is_read(
    engines: Engines, arguments: list[str], options: dict[str, str]
) -> None:
    with pytest.raises(UsageError):
        import_into(engines, arguments, **options)  # type: ignore[arg-type] # the options are texts
    assert engines.log.bounds(0).next == 0


def test_a_folder_is_looked_through_for_records_only(tmp_path: Path) -> None:
    names = ["a.json", "b.NDJSON.gz", "c.log.2", "d.jsonl", "LICENSE", "e.json.md", "picture.png", "f.tar.gz"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    found = find_sources([str(tmp_path), str(tmp_path / "LICENSE")], BytesIO())
    assert [Path(source.name).name for source in found.sources] == [
        "a.json",
        "b.NDJSON.gz",
        "c.log.2",
        "d.jsonl",
        "LICENSE",
    ]
    assert {path.name for path in found.passed_over} == {"LICENSE", "e.json.md", "picture.png", "f.tar.gz"}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no files"):
        find_sources([str(tmp_path)], BytesIO())
