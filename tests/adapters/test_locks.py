"""Locks on files: one owner, found free again however the owner ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trailseal.adapters.locks import FileLock, lock_server
from trailseal.errors import Unavailable, UsageError

CHILD = Path(__file__).with_name("sqlite_child.py")


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until it is killed or its input ends."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(path), "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_lock_has_one_owner_until_it_is_released(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert (first.held, second.held) == (True, False)
    assert second.owner() == os.getpid()
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_a_killed_owner_leaves_the_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    with holder(path) as child:
        assert not lock.acquire()
        assert lock.owner() == child.pid
        child.kill()
        child.wait()
        assert lock.acquire()
    assert lock.owner() == os.getpid()
    lock.release()


def test_a_second_server_is_refused_and_told_which_process_runs(tmp_path: Path) -> None:
    with holder(tmp_path / "server.lock") as child:
        with pytest.raises(UsageError, match=str(child.pid)) as refusal:
            lock_server(tmp_path)
        assert str(tmp_path) in str(refusal.value)
        child.kill()
        child.wait()
        lock = lock_server(tmp_path)
    assert lock.held
    with pytest.raises(UsageError, match=str(os.getpid())):
        lock_server(tmp_path)
    lock.release()


def test_a_longer_process_id_before_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("99999999999999\n")
    lock = FileLock(path)
    assert lock.acquire()
    assert lock.owner() == os.getpid()
    lock.release()


def test_a_lock_file_made_anew_under_an_owner_is_a_lock_of_its_own(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    first.path.unlink()
    assert second.acquire()
    first.release()
    assert not FileLock(tmp_path / "lock").acquire()
    second.release()


def test_what_a_lock_file_holds_by_mistake_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert FileLock(path).owner() is None
    path.write_text("not a number")
    assert FileLock(path).owner() is None


def test_a_lock_that_cannot_be_made_says_where_and_why(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        FileLock(tmp_path / "nowhere" / "lock").acquire()
