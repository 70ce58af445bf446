"""`trailseal months`, `reproject` and `rebuild`: looking after the months of an index on servers."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import Engines, Role, open_engines
from trailseal.cli.options import Config, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, progress_bar, write_ndjson
from trailseal.errors import UsageError
from trailseal.event_consumer.months import MonthRebuild, PutBack, to_reproject
from trailseal.event_consumer.months import reproject as reproject_months
from trailseal.ports.upkeep import MonthStatus, MonthUpkeep, Reprojected

_MONTH = re.compile(r"(\d{4})[.-](0[1-9]|1[0-2])")
_Form = Annotated[Form, typer.Option("--form", help="How to write the rows.")]


def months(form: _Form = Form.AUTO, config: Config = None) -> None:
    """List the months of the index: open, dropped or missing, and which are of an older version.

    A month that is missing stops the consumer and makes searches fail: restore it from a snapshot, or run
    `trailseal rebuild`. Retired indices are what a re-projection or a rebuild replaced: nothing searches them, and
    nothing deletes them but you. Exit status 1 if a month is missing.
    """
    engines, upkeep = _open(settings_config=config, role="read")
    try:
        found = upkeep.months()
    finally:
        engines.close()
    if as_table(form):
        draw_table(
            ("month", "state", "documents", "version", "index", "retired"),
            [_shown(status) for status in found],
            numbers=frozenset({"documents"}),
        )
        if not found:
            notice("There is no month yet: the consumer makes each with its first event.")
    else:
        write_ndjson(found)
    if any(status.state == "missing" for status in found):
        raise typer.Exit(1)


def _shown(status: MonthStatus) -> tuple[str, ...]:
    version = "being re-projected" if status.reprojecting else "current" if status.current else "older"
    return (
        status.month,
        status.state.upper() if status.state == "missing" else status.state,
        f"{status.documents:,}",
        version if status.state == "open" else "",
        status.index,
        ", ".join(status.retired),
    )


def reproject(
    month: Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Only this month.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every month, also those of the current version.")
    ] = False,
    form: _Form = Form.AUTO,
    config: Config = None,
) -> None:
    """Make months of the index anew from their own records, after an upgrade that changed what is searched by.

    Without --month and --all: those that an older version wrote. Consumers and the API go on; consumers wait while
    the last documents of a month are copied. Interrupted, run it again: it goes on where it was. The index that was
    replaced is kept, blocked for writes, until you delete it.
    """
    if month is not None and everything:
        raise UsageError("Give --month or --all, not both.")
    engines, upkeep = _open(settings_config=config, role="import")
    done: list[Reprojected] = []
    try:
        wanted = to_reproject(upkeep, None if month is None else _month(month), everything=everything)
        with _bar() as bar:
            task = bar.add_task("looking", total=None)
            for one in reproject_months(
                upkeep,
                engines.ledger,
                engines.cache,
                wanted,
                lambda step, count, total: bar.update(task, description=step, completed=count, total=total),
            ):
                done.append(one)
                bar.update(task, description=one.month, completed=one.documents, total=one.documents)
    finally:
        engines.close()
        _write(done, form)
    if not wanted:
        notice("Every month is of the current version; --all or --month makes one anew all the same.")


def _write(done: list[Reprojected], form: Form) -> None:
    if not as_table(form):
        write_ndjson(done)
    elif done:
        rows = [(one.month, f"{one.documents:,}", f"{one.unchanged:,}", one.index, one.retired) for one in done]
        columns = ("month", "documents", "unchanged", "index", "retired")
        draw_table(columns, rows, numbers=frozenset({"documents", "unchanged"}))


def rebuild(
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Use the months although some documents are lost.")
    ] = False,
    form: _Form = Form.AUTO,
    config: Config = None,
) -> None:
    """Put missing months of the index back from the log, as the books say.

    Restoring a snapshot is better where there is one: Kafka holds records for its retention only. What it cannot
    give back is named by partition, and the months stay out of use unless --accept-lost is given; `trailseal
    reconcile` names each lost position afterwards. Exit status 1 if documents are lost.
    """
    engines, upkeep = _open(settings_config=config, role="import")
    try:
        with _bar() as bar:
            task = bar.add_task("reading the log", total=None)
            result = MonthRebuild(
                engines.log,
                engines.ledger,
                upkeep,
                engines.cache,
                lambda read, total: bar.update(task, completed=read, total=total),
            ).run(accept_lost=accept_lost)
    finally:
        engines.close()
    _tell(result, form)
    if result.lost:
        raise typer.Exit(1)


def _tell(result: PutBack, form: Form) -> None:
    if not as_table(form):
        write_ndjson([result])
    if not result.months:
        notice("No month is missing.")
        return
    for lost in result.lost:
        first = "its log is gone" if lost.first is None else f"the log begins at offset {lost.first}"
        notice(f"Partition {lost.log}/{lost.partition}: {lost.documents:,} documents cannot be put back; {first}.")
    named = ", ".join(result.months)
    if result.finished:
        notice(f"{named}: {result.documents:,} documents are back. Start the consumers again.")
    else:
        notice(
            f"{named}: not in use. Restore a snapshot of these months; or run `trailseal rebuild --accept-lost`,"
            " which puts back what the log still holds."
        )


def _open(settings_config: Config, role: Role) -> tuple[Engines, MonthUpkeep]:
    engines = open_engines(settings_from(settings_config), role)
    if engines.months is None:
        engines.close()
        raise UsageError(
            "The embedded index has no months to look after: `trailseal up` puts it back from the log by itself; to"
            " make it anew, stop `up`, delete the index folder and start again."
        )
    return engines, engines.months


def _month(text: str) -> str:
    found = _MONTH.fullmatch(text)
    if found is None:
        raise UsageError(f"--month {text}: a month is written YYYY-MM, such as 2026-11.")
    return f"{found[1]}.{found[2]}"


def _bar() -> Progress:
    return progress_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
