"""A large import: its pipeline lives in a process of its own, and nothing depends on how either of the two ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from flow.embedded import assert_balanced, offsets, opened
from flow.running import event, until
from trailseal.adapters.locks import CONSUMER_LOCK, FileLock
from trailseal.bootstrap import Engines
from trailseal.cli.pipeline_process import PipelineProcess, pipeline_for_import
from trailseal.errors import PipelineFault
from trailseal.event_consumer.import_sources import Source, find_sources
from trailseal.event_consumer.importing import Importer
from trailseal.event_consumer.runner import Consumer
from trailseal.settings import Settings

_COUNT = 3_000


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    with opened(tmp_path / "data", "import") as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(event(f"e{number}") + b"\n" for number in range(_COUNT)))
    return path


def _import(engines: Engines, settings: Settings, *sources: Source) -> int:
    importer = Importer(engines.log, engines.ledger, PipelineProcess(settings), engines.clock)
    return importer.run(sources).new


def _source(file: Path, before: Callable[[], None] = lambda: None) -> Source:
    def opened_file() -> BinaryIO:
        before()
        return file.open("rb")

    return Source(str(file), None, opened_file)


def test_what_one_process_appends_another_takes_in(engines: Engines, settings: Settings, file: Path) -> None:
    assert _import(engines, settings, _source(file)) == _COUNT
    assert len(offsets(engines)) == _COUNT
    assert_balanced(engines)


def test_a_pipeline_that_dies_ends_the_import_which_is_simply_run_again(
    engines: Engines, settings: Settings, file: Path
) -> None:
    lock = FileLock(settings.data / CONSUMER_LOCK)

    def kill_the_pipeline() -> None:
        until(lambda: not _is_free(lock) and lock.owner() not in {None, os.getpid()})
        os.kill(lock.owner() or 0, signal.SIGKILL)

    with pytest.raises(PipelineFault, match="again"):
        _import(engines, settings, _source(file, kill_the_pipeline))
    _import(engines, settings, _source(file))
    assert len(offsets(engines)) == _COUNT
    assert_balanced(engines)


def test_the_pipeline_ends_with_an_import_that_is_killed(settings: Settings) -> None:
    settings.data.mkdir()
    lock = FileLock(settings.data / CONSUMER_LOCK)
    with subprocess.Popen(
        [sys.executable, "-c", "from trailseal.cli import main; main()", "import", "--data", settings.data, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        until(lambda: not _is_free(lock))
        child.kill()
    until(lambda: _is_free(lock))


def _is_free(lock: FileLock) -> bool:
    if not lock.acquire():
        return False
    lock.release()
    return True


def test_a_small_import_stays_in_one_process(engines: Engines, settings: Settings, file: Path) -> None:
    small = find_sources([str(file)], BytesIO()).sources
    assert isinstance(pipeline_for_import(settings, engines, small), Consumer)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no use for two processes")
def test_input_of_unknown_size_counts_as_large(engines: Engines, settings: Settings) -> None:
    unknown = find_sources(["-"], BytesIO()).sources
    assert isinstance(pipeline_for_import(settings, engines, unknown), PipelineProcess)
