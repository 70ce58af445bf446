"""`trailseal epoch`: a new log begins where the old one is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from trailseal.bootstrap import open_engines
from trailseal.cli.options import Config, Data, examples, settings_from
from trailseal.cli.output import notice
from trailseal.event_consumer.epochs import begin_epoch

epoch = typer.Typer(
    name="epoch",
    help="Begin a new log where the old one was made anew, cut off or replaced.",
    no_args_is_help=True,
)


@epoch.callback()
def _group() -> None:
    """Begin a new log where the old one was made anew, cut off or replaced."""


@epoch.command("new", epilog=examples("trailseal epoch new --reason 'topic deleted by mistake, ticket 4711'"))
def new(
    reason: Annotated[str, typer.Option("--reason", help="Why; auditors read it in the new log's first leaf.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """End the log that the books are of, and begin the one that is there now.

    The consumer stops by itself when the topic is not the one it knew, or ends before what was taken in. Find out
    why first. Then this command gives the topic a new log number, whose first leaf names the final checkpoints of
    the old log; start the consumers again afterwards. Refused where nothing has ended.
    """
    engines = open_engines(settings_from(config, data=data), "import")
    try:
        begun = begin_epoch(engines.log, engines.ledger, engines.clock, reason)
    finally:
        engines.close()
    notice(
        f"Log {begun.ended} has ended. Log {begun.log} begins: {begun.origin}. Start the consumers again; they take"
        " in everything that the topic holds."
    )
