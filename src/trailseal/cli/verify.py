"""`trailseal verify`: what is stored against what was sealed, and that against what was signed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import Engines, open_engines
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, progress_bar, write_ndjson
from trailseal.cli.pipeline import calm_the_collector
from trailseal.cli.verify_file import verify_file
from trailseal.errors import InvalidQuery, Unavailable, UsageError
from trailseal.model.query import Condition, Exact, Field, Query
from trailseal.model.timestamps import format_rfc3339
from trailseal.ports.index import every_hit
from trailseal.query.times import Bound, parse_bound, resolve
from trailseal.verification.result import Range, Verification, VerifiedLog
from trailseal.verification.suspicions import MEANING, Suspicion
from trailseal.verification.trust import Trust, trust_from
from trailseal.verification.whole import verify_logs

EXIT_TAMPERED = 1
EXIT_UNVERIFIED = 2
_US_IN_MS = 1_000
_SIGNED_WITHIN_S = 120
"""A pipeline that runs signs what it seals within seconds; behind an older end anybody can have written."""
_COSIGNED_WITHIN_S = 300
"""A witness that has not seen the end of a growing log for longer leaves its end unproved."""

Keys = Annotated[
    list[str] | None, typer.Option("--key", metavar="VKEY", help="A log's public key, from elsewhere.")
]
Witnesses = Annotated[list[str] | None, typer.Option("--witness", metavar="VKEY", help="A witness's public key.")]
Quorum = Annotated[
    int | None, typer.Option("--quorum", min=0, help="Witnesses needed; default: all that are named.")
]
Kept = Annotated[
    list[Path] | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint kept from an earlier visit.")
]


def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A receipt or an evidence file, checked offline.")
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Only the event of this id.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of that event.")] = None,
    time_from: Annotated[str | None, typer.Option("--time-from", help="Only what was received since.")] = None,
    time_to: Annotated[str | None, typer.Option("--time-to", help="Only what was received before then.")] = None,
    key: Keys = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    checkpoint: Kept = None,
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Verify the log against its seals, or a file offline with nothing but public keys.

    Of the log every record, every claim about it and every searchable field; beside a running `trailseal up`
    too. Keys named with --key are believed; without them the log's own list is
    used, which proves nothing to an outsider. Exit status: 0 clean, 1 tampering, 2 could not verify.
    """
    trust = trust_from(key or (), witness or (), quorum, _kept(checkpoint or ()))
    if file is not None:
        tampered, undecided = verify_file(file, trust, form)
        _end(tampered=tampered, undecided=undecided)
    calm_the_collector()
    try:
        engines = open_engines(settings_from(config, data=data), "read")
        try:
            result = _verify(engines, trust, _range(engines, event_id, tenant, time_from, time_to))
        finally:
            engines.close()
    except Unavailable as error:
        notice(f"trailseal: {error}")
        raise typer.Exit(EXIT_UNVERIFIED) from error
    _write(result, form)
    _end(tampered=bool(result.suspicions), undecided=_undecided(result, trust))


def _end(*, tampered: bool, undecided: bool) -> NoReturn:
    raise typer.Exit(EXIT_TAMPERED if tampered else EXIT_UNVERIFIED if undecided else 0)


def _verify(engines: Engines, trust: Trust, wanted: Range) -> Verification:
    columns = (TextColumn("Verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None)
        return verify_logs(
            engines.log,
            engines.index,
            engines.ledger,
            trust,
            keeper=engines.keeper,
            wanted=wanted,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _kept(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    kept = []
    for path in paths:
        try:
            kept.append((str(path), path.read_bytes()))
        except OSError as error:
            raise UsageError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    return kept


def _range(
    engines: Engines, event_id: str | None, tenant: str | None, time_from: str | None, time_to: str | None
) -> Range:
    if event_id is None:
        if tenant is not None:
            raise UsageError("--tenant goes with --id: a log holds all tenants and is verified as a whole.")
        return Range(_milliseconds(engines, "--time-from", time_from), _milliseconds(engines, "--time-to", time_to))
    query = Query(
        tenants=None if tenant is None else (tenant,), conditions=(Condition(Field.ID, (Exact(event_id),)),)
    )
    positions = [hit.key.position for hit in every_hit(engines.index, query)]
    if not positions:
        raise UsageError("No event has this id here; if it should, verify the whole log.")
    return Range(only=frozenset((one.log, one.partition, one.offset) for one in positions), event_id=event_id)


def _milliseconds(engines: Engines, name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        bound: Bound = parse_bound(name, text)
    except InvalidQuery as error:
        raise UsageError(str(error)) from error
    us = resolve(bound, engines.clock.now_us())
    return None if us is None else us // _US_IN_MS


def _undecided(result: Verification, trust: Trust) -> bool:
    """Whether nothing was found only because what was asked for could not be looked at.

    A partition that nobody wrote to has no tree and no signature, and leaves nothing open.
    """
    used = [log for log in result.logs if log.size]
    if not used or result.unsettled or any(not log.signed or log.unopened or log.unvouched for log in used):
        return True
    if any(_is_unsigned(log) for log in used):
        return True
    return trust.quorum > 0 and any(_is_uncosigned(log) for log in used)


def _is_uncosigned(log: VerifiedLog) -> bool:
    """Whether witnesses have not seen its end, or not for longer than a log that grows may leave them behind."""
    if log.cosigned is None:
        return True
    return log.cosigned < log.signed and log.as_of - (log.cosigned_at or 0) > _COSIGNED_WITHIN_S


def _is_unsigned(log: VerifiedLog) -> bool:
    """Whether what no signature covers of it is older than a running pipeline leaves it, or not of this time."""
    since_ms, until_ms = log.unsigned_since_ms, log.unsigned_until_ms
    if since_ms is None or until_ms is None:
        return False
    return max(log.as_of - since_ms / 1e3, until_ms / 1e3 - log.as_of) > _SIGNED_WITHIN_S


def is_clean(result: Verification, trust: Trust) -> bool:
    """Whether nothing was found and nothing is left open: exit status 0."""
    return not result.suspicions and not _undecided(result, trust)


def _line(suspicion: Suspicion) -> dict[str, Any]:
    named: dict[str, Any] = msgspec.to_builtins(suspicion)
    return named | {"position": str(suspicion.position), "meaning": MEANING[suspicion.kind]}


def _write(result: Verification, form: Form) -> None:
    if as_table(form):
        rows = [
            (
                f"{log.log}/{log.partition}",
                f"{log.verified:,}",
                f"{log.gaps:,}",
                f"{log.signed:,} of {log.size:,}",
                "-" if log.cosigned is None else f"{log.cosigned:,}",
                "-" if log.cosigned_at is None else format_rfc3339(log.cosigned_at * 1_000_000),
                log.root[:16],
            )
            for log in result.logs
        ]
        draw_table(
            ("partition", "verified", "gaps", "signed leaves", "cosigned", "at", "root"),
            rows,
            numbers=frozenset(("verified", "gaps", "signed leaves", "cosigned")),
        )
    else:
        write_ndjson([*result.logs, *(_line(suspicion) for suspicion in result.suspicions)])
    for suspicion in result.suspicions if as_table(form) else ():
        notice(str(suspicion))
    if result.untold:
        notice(f"... and {result.untold:,} more.")
    for sentence in (*result.unsettled, *result.open_questions):
        notice(sentence)
    if as_table(form):
        found = len(result.suspicions) + result.untold
        notice(f"TAMPERING: {found:,} findings." if found else "Nothing was found that is not as it was sealed.")
