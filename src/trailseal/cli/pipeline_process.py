"""The pipeline in a process of its own: a large import reads and appends on one core while another takes in.

The two share nothing but the data folder, as an import and a running `trailseal up` do. The child lives as long as
its standard input is open, so it ends with its parent however that dies; what it had not taken in stays in the log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.consumers_elsewhere import ConsumersElsewhere
from trailseal.cli.pipeline import calm_the_collector, make_consumer
from trailseal.errors import IntegrityViolation, PipelineFault, SettingsError, TrailsealError, Unavailable
from trailseal.event_consumer.import_sources import Source
from trailseal.event_consumer.importing import Follower
from trailseal.event_consumer.runner import Consumer
from trailseal.settings import Settings
from trailseal.telemetry import set_up_logging

_WORTH_BYTES = 8 << 20
"""Bytes of input from which on a second process is worth its start."""

_KEEPING_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""glibc: what a batch and a segment let go of, the next ones need again; handing it back and forth costs a 25th."""


def pipeline_for_import(settings: Settings, engines: Engines, sources: Sequence[Source]) -> Follower:
    """What takes in what an import appends: in a process of its own where there is much to do and a core for it.

    In the cluster profile the consumers do, and the import follows them.

    Args:
        settings: those that the engines were opened with.
        engines: opened for an import.
        sources: what will be read; one of unknown size counts as large.

    Raises:
        SettingsError: the seal keys or the witnesses cannot be used.
    """
    if engines.profile == "cluster":
        return ConsumersElsewhere(engines.log, engines.ledger)
    sizes = [source.size for source in sources if source.size is not None]
    large = len(sizes) < len(sources) or sum(sizes) >= _WORTH_BYTES
    if large and (os.cpu_count() or 1) > 1:
        calm_the_collector()
        return PipelineProcess(settings)
    return make_consumer(settings, engines)


class PipelineProcess:
    """A consumer in another process: one thread calls `run`, any thread may call `stop`.

    Args:
        settings: what the process opens its engines with.

    Attributes:
        fault: why it ended by itself, or None.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self.fault: TrailsealError | None = None

    def run(self) -> None:
        """Follow the log until `stop`, or until the process ends: then `fault` says what to do."""
        with self._lock:
            if self._stopped:
                return
            child = self._child = subprocess.Popen(
                [sys.executable, "-m", "trailseal.cli.pipeline_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_KEEPING_MEMORY | os.environ,
            )
            with suppress(BrokenPipeError):
                _pipe(child.stdin).write(self._settings.model_dump_json().encode() + b"\n")
                _pipe(child.stdin).flush()
        with _pipe(child.stdout) as told:
            last_words = told.read()
        status = child.wait()
        stopped = self._stopped
        self.stop()
        if last_words:
            self.fault = _fault(last_words)
        elif status or not stopped:
            self.fault = PipelineFault(
                f"The process that takes the records in ended (status {status}). Nothing is lost: import the same"
                " again."
            )

    def stop(self) -> None:
        """Finish what was taken in, then let `run` return. Any thread; twice is harmless."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                with suppress(OSError):
                    _pipe(self._child.stdin).close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the process was started with pipes")
    return stream


def _fault(last_words: bytes) -> TrailsealError:
    """The fault a process told before it ended, as the same class."""
    name, _, text = last_words.decode("utf-8", "replace").partition("\n")
    known = {kind.__name__: kind for kind in (IntegrityViolation, SettingsError, Unavailable)}
    return known.get(name, PipelineFault)(text)


def main() -> None:
    """The child: settings on the first line of standard input, a fault on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which closes the input
    settings = Settings(**json.loads(sys.stdin.buffer.readline()))
    set_up_logging("error", settings.log_format)
    try:
        engines = open_engines(settings, "import")
        try:
            fault = _follow(make_consumer(settings, engines))
        finally:
            engines.close()
    except TrailsealError as error:
        fault = error
    if fault is not None:
        sys.stdout.write(f"{type(fault).__name__}\n{fault}")


def _follow(consumer: Consumer) -> TrailsealError | None:
    def stop_at_end_of_input() -> None:
        while sys.stdin.buffer.read(1):
            pass
        consumer.stop()

    threading.Thread(target=stop_at_end_of_input, name="lifeline", daemon=True).start()
    consumer.run()
    return consumer.fault


if __name__ == "__main__":
    main()
