"""The embedded engines together: a deleted index, a second process, a full disk, how soon an event is seen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.embedded import assert_balanced, consumer_of, import_into, offsets, opened
from flow.oracle import expected_of
from flow.running import caught_up, event, record, running, until
from trailseal.bootstrap import Engines
from trailseal.errors import Rebuilding, Unavailable
from trailseal.model.query import Query

CHILD = Path(__file__).with_name("pipeline_child.py")


def _assert_as_the_log_says(engines: Engines) -> None:
    expected = expected_of(engines)
    assert offsets(engines) == sorted(expected.indexed)
    assert_balanced(engines)


def test_a_deleted_index_is_rebuilt_while_events_go_on_being_accepted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    mixed = [record("a"), record("a"), record("a", action="other.thing"), *(record(f"e{n}") for n in range(3_000))]
    with opened(data) as engines:
        engines.log.append(mixed)
        with running(consumer_of(engines)):
            until(lambda: caught_up(engines.log, engines.ledger))
        before = offsets(engines)
        rows = list(engines.ledger.outcomes(1, 0))
    shutil.rmtree(data / "index")
    with opened(data) as engines:
        with pytest.raises(Rebuilding):
            engines.index.search(Query(), None, 1)
        with running(consumer_of(engines)) as consumer:
            for n in range(200):
                engines.log.append([record(f"new{n}")])
            until(lambda: caught_up(engines.log, engines.ledger))
            assert consumer.state.snapshot.rebuilt == len(mixed)
        assert offsets(engines)[: len(before)] == before
        assert list(engines.ledger.outcomes(1, 0)) == rows
        _assert_as_the_log_says(engines)


def test_an_accepted_event_is_seen_without_anybody_asking_for_a_refresh(tmp_path: Path) -> None:
    """How soon is the bench's row `visible`."""
    with opened(tmp_path / "data") as engines, running(consumer_of(engines)) as consumer:
        until(lambda: consumer.state.snapshot.phase == "running")
        for n in range(5):
            engines.log.append([record(f"e{n}")])
            until(lambda n=n: engines.index.count(Query()).value == n + 1)  # type: ignore[misc] # bound now


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the pipeline on the same folder; it says so when it does."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "running\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_second_consumer_waits_and_takes_over_after_kill_9(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with opened(tmp_path / "data", "import") as engines, running(consumer_of(engines)) as second:
        until(lambda: second.state.snapshot.phase == "waiting")
        engines.log.append([record(f"e{n}") for n in range(500)])
        until(lambda: caught_up(engines.log, engines.ledger))
        assert second.state.snapshot.phase == "waiting"
        engines.log.append([record(f"f{n}") for n in range(500)])
        other.send_signal(signal.SIGKILL)
        until(lambda: second.state.snapshot.phase == "running")
        until(lambda: caught_up(engines.log, engines.ledger))
        _assert_as_the_log_says(engines)


def test_an_import_beside_a_running_pipeline_follows_it_to_the_end(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    file = tmp_path / "in.ndjson"
    file.write_bytes(b"\n".join([*(event(f"e{n}") for n in range(1_000)), b"broken", event("e1")]))
    with opened(tmp_path / "data", "import") as engines:
        result = import_into(engines, [file])
        assert (result.new, result.duplicates, result.dead_letters) == (1_000, 1, 1)
        assert other.poll() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root may make one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small tmpfs needs root: run the tests in a container or as root for this one")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_is_said_corrupts_nothing_and_is_over_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    acknowledged: list[int] = []
    with opened(small_disk / "data") as engines, running(consumer_of(engines, retry_most_s=0.5)) as consumer:
        until(lambda: consumer.state.snapshot.phase == "running")
        refused = 0
        reasons: set[str] = set()
        sentences: set[str] = set()
        for n in range(400):
            if n == 50:
                _fill(ballast)
            made = [record(f"e{n}-{k}", metadata={"pad": os.urandom(700).hex()}) for k in range(5)]
            try:
                acknowledged += [position.offset for position in engines.log.append(made)]
            except Unavailable as error:
                refused += 1
                sentences.add(str(error).lower())
                if refused == 20:
                    ballast.unlink()
        assert refused >= 20
        assert all("full" in reason or "room" in reason for reason in reasons), reasons
        assert all("disk" in sentence or "full" in sentence for sentence in sentences)
        until(lambda: caught_up(engines.log, engines.ledger) and consumer.state.snapshot.phase == "running")
        engines.log.append([record("after")])
        until(lambda: caught_up(engines.log, engines.ledger))
        _assert_as_the_log_says(engines)
        assert set(acknowledged) <= set(offsets(engines))


def test_a_full_disk_under_the_index_alone_stops_no_event_and_no_answer(small_disk: Path, tmp_path: Path) -> None:
    ballast, elsewhere = small_disk / "ballast", small_disk / "index"
    elsewhere.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "index").symlink_to(elsewhere)
    with opened(tmp_path / "data") as engines, running(consumer_of(engines, retry_most_s=0.5)) as consumer:
        engines.log.append([record(f"before-{n}") for n in range(10)])
        until(lambda: caught_up(engines.log, engines.ledger))
        _fill(ballast)
        accepted = 10

        def in_trouble() -> bool:
            nonlocal accepted
            engines.log.append([record(f"e{accepted}", metadata={"pad": os.urandom(20_000).hex()})])
            accepted += 1
            return consumer.state.snapshot.phase == "retrying"

        until(in_trouble, "trouble with the index")
        until(
            lambda: "its disk" in (consumer.state.snapshot.detail or ""), "the reason, which each retry says again"
        )
        assert "index" in (consumer.state.snapshot.detail or "")
        assert len(engines.index.search(Query(), None, 10)) == 10
        ballast.unlink()
        until(lambda: caught_up(engines.log, engines.ledger) and consumer.state.snapshot.phase == "running")
        _assert_as_the_log_says(engines)
        assert offsets(engines) == list(range(accepted))


def _fill(file: Path) -> None:
    """Take all the room there is."""
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    ballast.write(b"\0" * size)
            except OSError:
                continue
