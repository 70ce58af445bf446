"""`kill -9` at any step: every acknowledged event is there exactly once, and the books balance."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flow.embedded import assert_balanced, consumer_of, import_into, offsets, opened
from flow.oracle import expected_of
from flow.running import caught_up, event, running, until
from trailseal.bootstrap import Engines
from trailseal.event_consumer.runner import Consumer

pytestmark = pytest.mark.crash

POINTS = 32
Run = Callable[[str, Path, Path, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def run_child() -> Iterator[Run]:
    """Runs one plan in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("crash_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout

    def run(mode: str, data: Path, given: Path, plan: dict[str, Any]) -> dict[str, Any]:
        task = {"mode": mode, "data": str(data), "input": str(given), "plan": plan}
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    yield run
    stdin.close()
    child.wait(30)
    stdout.close()


def _plans(calls: dict[str, int], seed: str) -> list[dict[str, Any]]:
    """Every step that was ever called before and after its first and a later call, then seeded ones."""
    chosen = random.Random(seed)
    steps = sorted(step for step, count in calls.items() if count)
    plans = [{"step": step, "nth": 1, "after": after} for step in steps for after in (False, True)]
    while len(plans) < POINTS:
        step = chosen.choice([step for step in steps if calls[step] > 2])
        plans.append({"step": step, "nth": chosen.randint(2, calls[step]), "after": chosen.random() < 0.5})
    return plans


def _calls(run_child: Run, mode: str, data: Path, given: Path) -> dict[str, int]:
    """How often each step is called when nothing goes wrong."""
    assert run_child(mode, data, given, {}) == {"killed": False, "code": 0}
    calls: dict[str, int] = json.loads((data / "calls.json").read_text())
    return calls


def _assert_as_expected(engines: Engines) -> set[str]:
    expected = expected_of(engines)
    assert offsets(engines) == sorted(expected.indexed)
    number = engines.ledger.log_number(engines.log.origin)
    assert number is not None
    rows = {row.position.offset: row.kind for row in engines.ledger.outcomes(number, 0)}
    assert rows == expected.rows
    assert_balanced(engines)
    return expected.ids


def _files(folder: Path) -> set[str]:
    """Ten files of forty lines with repeats and lines that are no events; the ids in them."""
    folder.mkdir()
    ids = set()
    for number in range(10):
        lines = []
        for line in range(40):
            if line % 13 == 5:
                lines.append(b"broken")
                continue
            name = f"e{number}-{line if line % 9 else line // 2}"
            ids.add(name)
            lines.append(event(name))
        (folder / f"{number}.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    return ids


def test_an_import_killed_anywhere_and_run_again_loses_and_doubles_nothing(run_child: Run, tmp_path: Path) -> None:
    ids = _files(tmp_path / "in")
    calls = _calls(run_child, "import", tmp_path / "dry", tmp_path / "in")
    killed = 0
    for number, plan in enumerate(_plans(calls, "import")):
        data = tmp_path / f"data{number}"
        killed += run_child("import", data, tmp_path / "in", plan)["killed"]
        with opened(data, "import") as engines:
            result = import_into(engines, [tmp_path / "in"])
            assert result.new + result.already_there + result.duplicates + result.dead_letters == 400, plan
            found = _assert_as_expected(engines)
            assert found == ids, plan
    assert killed >= 0.8 * POINTS


def _went_on(consumer: Consumer, engines: Engines) -> bool:
    """Not only at the end of the log: one that was killed before its first record left an index to begin, too."""
    return consumer.state.snapshot.phase == "running" and caught_up(engines.log, engines.ledger)


def test_sixteen_writers_killed_anywhere_keep_what_was_acknowledged(run_child: Run, tmp_path: Path) -> None:
    calls = _calls(run_child, "write", tmp_path / "dry", tmp_path / "dry.txt")
    killed = 0
    for number, plan in enumerate(_plans(calls, "write")):
        data, acknowledged = tmp_path / f"data{number}", tmp_path / f"{number}.txt"
        killed += run_child("write", data, acknowledged, plan)["killed"]
        with opened(data) as engines:
            with running(consumer_of(engines)) as consumer:
                until(partial(_went_on, consumer, engines))
            promised = [int(line) for line in acknowledged.read_text().split()] if acknowledged.exists() else []
            assert set(promised) <= set(range(engines.log.bounds(0).next)), plan
            _assert_as_expected(engines)
    assert killed >= 0.8 * POINTS
