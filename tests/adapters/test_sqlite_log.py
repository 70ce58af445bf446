"""The embedded log: the contract, and what only SQLite can get wrong."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from conformance.log_contract import MEGABYTES, Follower, LogContract, RecordSourceContract, numbered, read_from
from trailseal.adapters import sqlite_files, sqlite_writing
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.locks import FileLock
from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.adapters.logs.sqlite_writer import Batch, GroupCommit
from trailseal.errors import Overloaded, PipelineFault, SettingsError, Unavailable, UsageError
from trailseal.model.record import MAX_GAP, Gap, NewRecord, Position, Record
from trailseal.ports.log import Assigned, Bounds, Records

CHILD = Path(__file__).with_name("sqlite_child.py")


class SteppedClock(SystemClock):
    """Wall time that a test sets."""

    def __init__(self, now_us: int) -> None:
        super().__init__()
        self.us = now_us

    def now_us(self) -> int:
        return self.us


def open_log(path: Path, *, read_only: bool = False) -> SqliteLog:
    """The log in that file, as number 7."""
    return SqliteLog(path, log_number=lambda _origin: 7, clock=SystemClock(), read_only=read_only)


def start_child(*arguments: object) -> subprocess.Popen[str]:
    """The child program, talking through pipes."""
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def acknowledged(lines: list[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """(thread, batch) -> (first offset, records), from whole lines only."""
    whole = [line.split() for line in lines if line.endswith("\n")]
    return {(name, int(n)): (int(first), int(count)) for name, n, first, count in whole}


def assert_acknowledged_is_there(log: SqliteLog, acks: dict[tuple[str, int], tuple[int, int]]) -> None:
    """Every acknowledged batch stands at its offsets, and nothing stands there twice."""
    records = read_from(log, {0: 0})
    assert [record.position.offset for record in records] == list(range(log.bounds(0).next))
    written = [(record.value or b"").split(b" ")[:3] for record in records]
    assert len({tuple(value) for value in written}) == len(written)
    for (name, n), (first, count) in acks.items():
        expected = [[name.encode(), b"%d" % n, b"%d" % k] for k in range(count)]
        assert written[first : first + count] == expected


def integrity(path: Path) -> str:
    """SQLite's own verdict on the file."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with closing(open_log(path)) as opened:
        yield opened


class TestSqliteLog(LogContract, RecordSourceContract):
    independent_groups = False

    @pytest.fixture
    def log(self, path: Path) -> Iterator[SqliteLog]:
        with closing(open_log(path)) as opened:
            yield opened

    @pytest.fixture
    def second(self, path: Path) -> Iterator[Callable[[], SqliteLog]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(closing(open_log(path)))

    @pytest.fixture
    def after_crash(self, path: Path, tmp_path: Path) -> Iterator[Callable[[], SqliteLog]]:
        """The files as they lie on the disk this moment, opened elsewhere: no close, no checkpoint."""

        def open_copy() -> SqliteLog:
            found = tmp_path / "found"
            found.mkdir()
            for name in ("log.db", "log.db-wal"):
                shutil.copyfile(path.parent / name, found / name)
            return opened.enter_context(closing(open_log(found / "log.db")))

        with ExitStack() as opened:
            yield open_copy

    @pytest.fixture
    def drop_before(self, path: Path) -> Callable[[int, int], None]:
        def drop(_partition: int, offset: int) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DELETE FROM records WHERE offset < ?", (offset,))

        return drop


# -- crashes and other processes -----------------------------------------------------------------------------


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(8))
def test_killed_amid_appends_of_sixteen_threads_every_acknowledged_one_is_there(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with start_child(path, "append", 16, 100_000, rng.choice([10, 700, 6_000])) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        lines = [child.stdout.readline() for _ in range(rng.randrange(1, 1_500))]
        child.kill()
        lines += child.stdout.readlines()
    acks = acknowledged(lines)
    with closing(open_log(path, read_only=True)) as reader:
        assert_acknowledged_is_there(reader, acks)
    with closing(open_log(path)) as log:
        assert_acknowledged_is_there(log, acks)
        end = log.bounds(0).next
        assert log.append(numbered(1)) == [Position(7, 0, end)]
    assert integrity(path) == "ok"


def test_two_processes_appending_at_once_share_one_dense_order(path: Path) -> None:
    with start_child(path, "append", 4, 60, 300) as one, start_child(path, "append", 4, 60, 300) as two:
        for child in (one, two):
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        with ThreadPoolExecutor(2) as threads:
            outputs = list(threads.map(lambda child: child.communicate("go\n")[0], (one, two)))
    acks = [acknowledged(output.splitlines(keepends=True)) for output in outputs]
    assert [len(found) for found in acks] == [240, 240]
    taken = sorted(
        offset for found in acks for first, count in found.values() for offset in range(first, first + count)
    )
    assert taken == list(range(960))
    with closing(open_log(path)) as log:
        assert log.bounds(0) == Bounds(0, 960)
        assert len(read_from(log, {0: 0})) == 960


def test_the_lock_of_a_killed_reader_is_free_again(path: Path, log: SqliteLog) -> None:
    with start_child(path.parent / "consumer.lock", "lock") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        subscription = log.subscribe("pipeline")
        assert subscription.poll(10, 0.15) is None
        holder.kill()
        holder.wait()
        assert subscription.poll(10, 10.0) == Assigned((0,))
        subscription.close()


def test_a_reader_hears_of_another_process_soon(path: Path, log: SqliteLog) -> None:
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    follower.seek({0: 0})
    with start_child(path, "append", 1, 1, 10) as child, closing(follower.subscription):
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        delivered = follower.subscription.poll(10, 10.0)
        assert isinstance(delivered, Records)


# -- no room, no right, no database --------------------------------------------------------------------------


@contextmanager
def tiny_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size; skips where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: run as root to test a full disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_clearly_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "3m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * 1_000_000)
        with closing(open_log(disk / "log.db")) as log:
            written = 0

            def fill() -> None:
                nonlocal written
                while True:
                    written += len(log.append([NewRecord(b"x" * 5_000)] * 20))

            with pytest.raises(Unavailable, match="disk") as refusal:
                fill()
            assert str(disk / "log.db") in str(refusal.value)
            assert log.bounds(0).next == written
            assert len(read_from(log, {0: 0})) == written
            with pytest.raises(Unavailable):
                log.append([NewRecord(b"x" * 2_500_000)])
            ballast.unlink()
            assert log.append([NewRecord(b"after")]) == [Position(7, 0, written)]
        assert integrity(disk / "log.db") == "ok"
        with closing(open_log(disk / "log.db")) as log:
            assert len(read_from(log, {0: 0})) == written + 1


def test_files_that_may_not_grow_refuse_clearly_and_go_on_later(path: Path) -> None:
    with start_child(path, "starve", 600_000) as child:
        output, _ = child.communicate()
    refused, went_on = output.splitlines()
    _, written, bound, *why = refused.split()
    assert "disk" in why
    assert int(written) == int(bound) > 0
    assert went_on == f"went on {written}"
    with closing(open_log(path)) as log:
        assert log.bounds(0).next == int(written) + 1
    assert integrity(path) == "ok"


@pytest.mark.parametrize("kind", [SqliteLog, SqliteLedger])
def test_what_cannot_be_used_is_refused_at_the_start_with_a_way_out(tmp_path: Path, kind: type) -> None:
    def opened(path: Path, *, read_only: bool = False) -> object:
        if kind is SqliteLedger:
            return SqliteLedger(path, read_only=read_only)
        return open_log(path, read_only=read_only)

    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "text.db").write_bytes(b"this is no database at all, however long it may be. " * 100)
    (tmp_path / "folder.db").mkdir()
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
    other = SqliteLedger(tmp_path / "other.db") if kind is SqliteLog else open_log(tmp_path / "other.db")
    other.close()
    for name in ("file/data/x.db", "text.db", "folder.db", "foreign.db", "other.db"):
        with pytest.raises(SettingsError, match=str(tmp_path)):
            opened(tmp_path / name)
    for name in ("text.db", "folder.db", "foreign.db", "other.db"):
        with pytest.raises(SettingsError, match=str(tmp_path)):
            opened(tmp_path / name, read_only=True)
    assert (tmp_path / "text.db").read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize(("version", "says"), [(2, "newer"), (99, "upgrade"), (-1, "cannot read")])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_another_version_is_refused(path: Path, version: int, says: str, read_only: bool) -> None:
    open_log(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version={version}")
    with pytest.raises(SettingsError, match=says):
        open_log(path, read_only=read_only)


@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_folder_without_permission_is_refused(mode: int) -> None:
    probe = (
        "import os, sys; from pathlib import Path; import trailseal.adapters.ledgers.sqlite as ledgers\n"
        "from trailseal.errors import SettingsError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "for read_only in (False, True):\n"
        "    try: ledgers.SqliteLedger(Path(sys.argv[1]), read_only=read_only)\n"
        "    except SettingsError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as reachable:
        folder = Path(reachable) / "locked"
        folder.mkdir()
        folder.chmod(mode)
        Path(reachable).chmod(0o755)
        command = [sys.executable, "-c", probe, str(folder / "ledger.db")]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        folder.chmod(0o700)
    lines = found.stdout.splitlines()
    assert len(lines) == (1 if mode else 2)
    assert all(str(folder / "ledger.db") in line and "this user" in line for line in lines)


def test_a_file_replaced_while_in_use_stops_writer_and_reader(path: Path, log: SqliteLog) -> None:
    log.append(numbered(3))
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    follower.seek({0: 3})
    follower.step()
    shutil.rmtree(path.parent)
    with closing(open_log(path)):
        with pytest.raises(PipelineFault, match="replaced"):
            log.append(numbered(1))
        with pytest.raises(PipelineFault, match="replaced"):
            follower.step()
    follower.subscription.close()


def test_a_log_cut_off_behind_a_reader_is_told(path: Path, log: SqliteLog) -> None:
    log.append(numbered(5))
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    follower.seek({0: 5})
    follower.step()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM records WHERE offset > 2")
        connection.execute("UPDATE state SET next = 3")
    with pytest.raises(PipelineFault, match="cut off"):
        follower.step()
    follower.subscription.close()


# -- what is stored ------------------------------------------------------------------------------------------


def test_offsets_are_dense_from_zero_and_never_given_out_again(path: Path, log: SqliteLog) -> None:
    assert [at.offset for at in log.append(numbered(5))] == [0, 1, 2, 3, 4]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM records WHERE offset IN (1, 2, 4)")
    assert log.bounds(0) == Bounds(0, 5)
    assert log.read(0, 4, 10, MEGABYTES) == [Gap(Position(7, 0, 4), 1)]
    assert [at.offset for at in log.append(numbered(1))] == [5]
    items = log.read(0, 0, 10, MEGABYTES)
    assert [(type(item), item.position.offset, getattr(item, "count", 1)) for item in items] == [
        (Record, 0, 1),
        (Gap, 1, 2),
        (Record, 3, 1),
        (Gap, 4, 1),
        (Record, 5, 1),
    ]


@pytest.mark.parametrize("max_records", [1, 2, 100])
def test_a_reader_is_given_gaps_where_records_were_removed(path: Path, log: SqliteLog, max_records: int) -> None:
    log.append(numbered(10))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM records WHERE offset IN (2, 3, 4, 7, 8, 9)")
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    follower.seek({0: 0})
    follower.until(lambda: follower.items[0][-1:] == [Gap(Position(7, 0, 7), 3)], max_records=max_records)
    assert [item.position.offset for item in follower.items[0]] == [0, 1, 2, 5, 6, 7]
    assert follower.items[0][2] == Gap(Position(7, 0, 2), 3)
    log.append(numbered(1))
    follower.until(lambda: follower.items[0][-1].position.offset == 10)
    follower.subscription.close()


def test_a_record_moved_beyond_the_end_is_no_part_of_the_log(path: Path, log: SqliteLog) -> None:
    kept = log.append(numbered(3))[:2]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET offset = ? WHERE offset = 2", (2**63 - 2,))
    assert [record.position for record in log.read(0, 0, 10, MEGABYTES)] == kept
    assert log.read(0, 2, 10, MEGABYTES) == [Gap(Position(7, 0, 2), 1)]


def test_a_long_hole_is_read_piece_by_piece_and_stops_a_subscription(path: Path, log: SqliteLog) -> None:
    log.append(numbered(3))
    beyond = 2 * MAX_GAP + 7
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET offset = ? WHERE offset = 2", (beyond,))
        connection.execute("UPDATE state SET next = ?", (beyond + 1,))
    pieces, at = [], 2
    while at <= beyond:
        (one,) = log.read(0, at, 1, MEGABYTES)
        pieces.append((type(one), one.end - at))
        at = one.end
    assert pieces == [(Gap, MAX_GAP), (Gap, MAX_GAP), (Gap, 5), (Record, 1)]
    assert [item.position.offset for item in log.read(0, 0, 10, MEGABYTES)] == [0, 1, 2]
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    follower.seek({0: 0})
    with pytest.raises(PipelineFault, match="from offset 2 on"):
        follower.step()
    follower.subscription.close()


def test_append_times_never_go_backwards_whatever_the_clock_does(path: Path) -> None:
    clock = SteppedClock(5_000_000)
    with closing(SqliteLog(path, log_number=lambda _: 7, clock=clock)) as log:
        for seconds in (5, 3, 6, 1):
            clock.us = seconds * 1_000_000
            log.append(numbered(1))
        assert [record.timestamp_ms for record in read_from(log, {0: 0})] == [5_000, 5_000, 6_000, 6_000]
    with closing(SqliteLog(path, log_number=lambda _: 7, clock=clock)) as log:
        log.append(numbered(1))
        assert read_from(log, {0: 4})[0].timestamp_ms == 6_000


def test_a_new_file_has_a_new_origin_and_the_number_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def number(origin: str) -> int:
        asked.append(origin)
        return 41 + len(asked)

    origins = set()
    for name in ("a", "b"):
        with closing(SqliteLog(tmp_path / name, log_number=number, clock=SystemClock())) as log:
            kind, identity, epoch = log.origin.split("/")
            assert (kind, len(bytes.fromhex(identity)), epoch) == ("embedded", 16, "1")
            origins.add(log.origin)
            numbers = {at.log for _ in range(3) for at in log.append(numbered(1))}
            numbers |= {record.position.log for record in read_from(log, {0: 0})}
            assert numbers == {41 + len(asked)}
            assert asked[-1] == log.origin
    assert len(origins) == len(asked) == 2


def test_files_are_durable_and_forgetful(path: Path, log: SqliteLog) -> None:
    log.append(numbered(1))
    connection = log._connection._connection
    assert connection is not None
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    (secure,) = connection.execute("PRAGMA secure_delete").fetchone()
    assert (mode, synchronous, secure) == ("wal", 2, 1)
    log.append([NewRecord(b"a-secret-that-must-go" * 50)])
    with closing(sqlite3.connect(path, isolation_level=None)) as eraser:
        eraser.execute("PRAGMA secure_delete=ON")
        eraser.execute("UPDATE records SET value = NULL WHERE offset = 1")
        eraser.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert all(b"a-secret-that-must-go" not in file.read_bytes() for file in path.parent.iterdir())


def test_a_write_ahead_log_that_readers_hold_up_is_truncated_as_soon_as_they_let_go(
    path: Path, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writing, "JOURNAL_BYTES", 1_000_000)
    journal = path.with_name("log.db-wal")
    log.append(numbered(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        for _ in range(3):
            log.append([NewRecord(b"x" * 900_000)])
        assert journal.stat().st_size > 2_000_000
        reader.execute("COMMIT")
    log._connection._next_truncation = 0.0
    log.append(numbered(1))
    assert journal.stat().st_size < 1_000_000


# -- sharing commits -----------------------------------------------------------------------------------------


def test_appends_that_arrive_during_a_commit_share_the_next_one() -> None:
    commits: list[int] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def commit(group: list[Batch]) -> None:
        commits.append(len(group))
        first_runs.set()
        assert go_on.wait(10)
        for batch in group:
            batch.first = len(commits)

    writer = GroupCommit(commit)
    with ThreadPoolExecutor(16) as threads:
        results = [threads.submit(writer.append, [(None, b"", None)], 0)]
        assert first_runs.wait(10)
        results += [threads.submit(writer.append, [(None, b"", None)], 0) for _ in range(15)]
        deadline = time.monotonic() + 10
        while len(writer._queue) < 15:
            assert time.monotonic() < deadline
        go_on.set()
        assert [result.result() for result in results] == [1] + [2] * 15
    assert commits == [1, 15]


def test_too_much_waiting_is_refused_and_nothing_of_it_taken() -> None:
    running, go_on = threading.Event(), threading.Event()
    taken: list[int] = []

    def commit(group: list[Batch]) -> None:
        running.set()
        assert go_on.wait(10)
        taken.extend(len(batch.rows) for batch in group)

    writer = GroupCommit(commit, waiting_records=10, waiting_bytes=1_000)
    row = (None, b"", None)
    with ThreadPoolExecutor(2) as threads:
        leading = threads.submit(writer.append, [row] * 500, 50_000)
        assert running.wait(10)
        waiting = threads.submit(writer.append, [row] * 4, 600)
        deadline = time.monotonic() + 10
        while not writer._queue:
            assert time.monotonic() < deadline
        for rows, size in ((7, 0), (1, 500)):
            with pytest.raises(Overloaded, match="wait"):
                writer.append([row] * rows, size)
        go_on.set()
        leading.result()
        waiting.result()
    assert taken == [500, 4]
    writer.append([row] * 500, 50_000)


def test_a_failed_commit_fails_everyone_who_shared_it_and_the_next_one_works() -> None:
    running, go_on = threading.Event(), threading.Event()
    failures = [Unavailable("the disk is full")] * 2

    def commit(_group: list[Batch]) -> None:
        running.set()
        assert go_on.wait(10)
        if failures:
            raise failures.pop()

    writer = GroupCommit(commit)
    row = (None, b"", None)
    with ThreadPoolExecutor(5) as threads:
        results = [threads.submit(writer.append, [row], 0)]
        assert running.wait(10)
        results += [threads.submit(writer.append, [row], 0) for _ in range(4)]
        deadline = time.monotonic() + 10
        while len(writer._queue) < 4:
            assert time.monotonic() < deadline
        go_on.set()
        errors = [result.exception() for result in results]
    assert [str(error) for error in errors] == ["the disk is full"] * 5
    assert len({id(error) for error in errors}) == 5
    writer.append([row], 0)


def test_an_interrupted_leader_leaves_nobody_waiting() -> None:
    running, go_on = threading.Event(), threading.Event()
    interruptions = [KeyboardInterrupt()]

    def commit(_group: list[Batch]) -> None:
        running.set()
        assert go_on.wait(10)
        if interruptions:
            raise interruptions.pop()

    writer = GroupCommit(commit)
    row = (None, b"", None)
    with ThreadPoolExecutor(2) as threads:
        leading = threads.submit(writer.append, [row], 0)
        assert running.wait(10)
        waiting = threads.submit(writer.append, [row], 0)
        deadline = time.monotonic() + 10
        while not writer._queue:
            assert time.monotonic() < deadline
        go_on.set()
        assert isinstance(leading.exception(10), KeyboardInterrupt)
        waiting.result(10)
    writer.close()


# -- reading only --------------------------------------------------------------------------------------------


def test_a_read_only_log_reads_beside_a_writer_and_refuses_to_write(path: Path, log: SqliteLog) -> None:
    positions = log.append(numbered(3))
    with closing(open_log(path, read_only=True)) as reader:
        assert [record.position for record in read_from(reader, {0: 0})] == positions
        log.append(numbered(1))
        assert reader.bounds(0) == Bounds(0, 4)
        assert reader.origin == log.origin
        for write in (lambda: reader.append(numbered(1)), lambda: reader.subscribe("x")):
            with pytest.raises(UsageError):
                write()


def test_a_read_only_log_that_does_not_exist_yet_says_so_until_it_does(path: Path) -> None:
    with closing(open_log(path, read_only=True)) as reader:
        for ask in (lambda: reader.origin, lambda: reader.bounds(0), lambda: reader.fetch([Position(7, 0, 0)])):
            with pytest.raises(Unavailable, match="trailseal up"):
                ask()
        assert not path.parent.exists()
        with closing(open_log(path)) as log:
            log.append(numbered(2))
            assert reader.bounds(0) == Bounds(0, 2)
            assert len(reader.fetch([Position(7, 0, 0)])) == 1


def test_reads_do_not_wait_for_a_writer_nor_the_writer_for_reads(path: Path, log: SqliteLog) -> None:
    log.append(numbered(10))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert len(read_from(log, {0: 0})) == 10
        assert time.monotonic() - began < 5
        writer.execute("ROLLBACK")
        writer.execute("BEGIN")
        writer.execute("SELECT count(*) FROM records").fetchone()
        log.append(numbered(1))


def test_there_is_no_other_partition(log: SqliteLog) -> None:
    with pytest.raises(UsageError, match="one partition"):
        log.bounds(1)
    with pytest.raises(UsageError, match="one partition"):
        log.read(-1, 0, 1, 1)


def test_what_readers_commit_is_kept_for_dashboards(path: Path, log: SqliteLog) -> None:
    log.append(numbered(5))
    follower = Follower(log.subscribe("pipeline"), 10.0)
    follower.own(log)
    for offset in (2, 3, 5):
        follower.subscription.commit({0: offset})
    follower.subscription.close()
    assert log.readers() == {"pipeline": 5}
    lock = FileLock(path.parent / "consumer.lock")
    assert lock.acquire()
    lock.release()


# -- erasing -------------------------------------------------------------------------------------------------


def test_erased_records_leave_no_byte_and_say_that_they_were_erased(log: SqliteLog, path: Path) -> None:
    mark = b"canary-of-the-erased"
    shapes = [
        NewRecord(mark, mark, (("x", mark), ("y", None))),
        NewRecord(mark * 20_000, None, ()),
        NewRecord(mark, mark, ()),
        NewRecord(b"", b"", (("x", mark),)),
    ]
    positions = log.append([record for shape in shapes for record in (shape, NewRecord(b"stays"))])
    before = log.fetch(positions)
    gone = positions[::2]
    for _ in range(2):
        log.erase([*gone, Position(7, 0, 4_000), Position(6, 0, 1), Position(7, 1, 1)])
        after = log.fetch(positions)
        for position, old, new in zip(positions, before, after, strict=True):
            assert old is not None
            assert new is not None
            if position in gone:
                assert (new.is_erased, new.key, new.value) == (True, None, None)
                assert new.timestamp_ms == old.timestamp_ms
            else:
                assert new == old
        assert read_from(log, {0: 0}) == after
        held = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert mark not in held
    assert integrity(path) == "ok"


def test_an_erasure_waits_for_readers_of_an_older_state(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_files, "BUSY_S", 0.05)
    (position,) = log.append([NewRecord(b"canary")])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(Unavailable, match="older state"):
            log.erase([position])
        reader.execute("COMMIT")
    log.erase([position])
    assert b"canary" not in b"".join(file.read_bytes() for file in path.parent.iterdir())
