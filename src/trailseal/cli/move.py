"""`trailseal move`: from the embedded profile into a cluster, with the proofs linked."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import embedded_files, lock_server, open_engines, profile
from trailseal.cli.options import Config, settings_from
from trailseal.cli.output import notice, progress_bar
from trailseal.errors import UsageError
from trailseal.event_consumer.moving import Move
from trailseal.telemetry import set_up_logging


def move(
    source: Annotated[Path, typer.Option("--from", metavar="DIR", help="The embedded profile's data folder.")],
    config: Config = None,
) -> None:
    """Move an embedded log into the cluster that the settings name.

    Stop `trailseal up` first, once nothing is pending. Every record goes into the topic in order, with its key,
    headers and salt; books, proofs and API keys go into the cluster's ledger. The new log's first leaves name the
    old log's final checkpoint. Interrupted and run again, it goes on without doubling anything. Start `trailseal
    consume` whenever you like after it has begun. The old folder stays as it is, and takes nothing in any more.
    """
    settings = settings_from(config)
    if profile(settings) != "cluster":
        raise UsageError("The settings name no cluster: set log, index, ledger and cache.")
    paths = {"data": source, "log": "", "ledger": "", "index": "", "secret_file": None, "cache": "memory://"}
    old = settings.model_copy(update=paths)
    if not embedded_files(old).log.is_file():
        raise UsageError(f"{source} holds no log: name the data folder with --from.")
    set_up_logging("error", settings.log_format)
    with ExitStack() as stack:
        lock = lock_server(old)
        stack.callback(lock.release)
        here = open_engines(old, "import")
        stack.callback(here.close)
        there = open_engines(settings, "import")
        stack.callback(there.close)
        columns = (TextColumn("Moving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = stack.enter_context(progress_bar(*columns))
        task = bar.add_task("", total=None)
        result = Move(here.log, here.ledger, there.log, there.ledger, there.clock).run(
            lambda done, total: bar.update(task, completed=done, total=total)
        )
    notice(
        f"{result.appended:,} records were moved ({result.already_there:,} had been before"
        + (f", {result.removed:,} are erased or expired" if result.removed else "")
        + f"). Log {result.log} is {result.origin}; the old one has ended."
    )
