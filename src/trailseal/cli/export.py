"""`trailseal export`: everything that matches, to a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trailseal.bootstrap import Engines, key_path, open_engines
from trailseal.cli import filters
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import notice, progress_bar
from trailseal.errors import InvalidQuery, SettingsError, TrailsealError, UsageError
from trailseal.formats.rendering import render
from trailseal.merkle.signing import Signer
from trailseal.model.projection import Hit
from trailseal.model.record import Record
from trailseal.model.timestamps import format_rfc3339
from trailseal.query.export import Export, Lines, begin_export, lines_of
from trailseal.query.parsing import WHOLE, parse_parameters
from trailseal.query.question import Question, scoped
from trailseal.sealing.evidence import Evidence
from trailseal.sealing.evidence_file import evidence_lines
from trailseal.sealing.keys import KeyFile
from trailseal.settings import Settings

_US_IN_S = 1_000_000
_SIGNED_WITHIN_S = 12.0
"""Twice what a running pipeline takes to sign what it took in."""
_LOOK_AGAIN_S = 0.25


class ExportForm(StrEnum):
    """How the rows are written."""

    NDJSON = "ndjson"
    CSV = "csv"


def export(
    conditions: filters.Conditions = None,
    actor: filters.Actor = None,
    action: filters.Action = None,
    resource: filters.ResourcePath = None,
    tenant_id: filters.TenantId = None,
    outcome: filters.OutcomeName = None,
    source_ip: filters.SourceIp = None,
    words: filters.Words = None,
    time_from: filters.TimeFrom = None,
    time_to: filters.TimeTo = None,
    order: filters.OrderName = None,
    record: Annotated[bool, typer.Option("--record", help="With the original record (NDJSON).")] = False,
    format_name: Annotated[
        ExportForm | None, typer.Option("--format", help="Default: csv for a FILE named .csv, else ndjson.")
    ] = None,
    with_proofs: Annotated[
        bool,
        typer.Option("--with-proofs", help="As evidence (NDJSON): `trailseal verify FILE --key VKEY` checks it."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, whole or not at all; default: the pipe."),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Export events: everything that was taken in by now and matches, as NDJSON or CSV.

    Memory stays flat however many there are. Works beside a running `trailseal up`.
    """
    repeated = {"actor": actor, "action": action, "resource": resource, "tenant_id": tenant_id}
    repeated |= {"outcome": outcome, "source_ip": source_ip}
    single = {"q": words, "time_from": time_from, "time_to": time_to, "order": order}
    pairs = filters.asked(conditions, repeated, single | {"record": "1" if record else None})
    named = ExportForm.CSV if output is not None and output.suffix == ".csv" else ExportForm.NDJSON
    form = format_name or named
    if with_proofs and form is ExportForm.CSV:
        raise UsageError("A table has no place for proofs: leave --with-proofs out, or take --format ndjson.")
    question, lines = _asked(pairs, form)
    settings = settings_from(config, data=data)
    engines = open_engines(settings, "read")
    try:
        query = scoped(question.at(engines.clock.now_us()), None)
        begun = begin_export(engines.index, engines.ledger, engines.clock, query)
        with destination(output) as out:
            if with_proofs:
                rows = _write_evidence(settings, engines, begun, pairs, question, out)
            else:
                rows = _write(engines, begun, lines, out)
    finally:
        engines.close()
    if output is not None:
        notice(f"{rows:,} events are in {output}.")


def _asked(pairs: list[tuple[str, str]], form: ExportForm) -> tuple[Question, Lines]:
    try:
        question = parse_parameters(pairs, beside=WHOLE)
        return question, lines_of(form.value, with_record=question.with_record)
    except InvalidQuery as error:
        raise UsageError(f"{error.problem.parameter or 'export'}: {error}") from error


def _write(engines: Engines, begun: Export, lines: Lines, out: BinaryIO) -> int:
    """Write the rows; one that cannot go on ends as over HTTP, for a pipe forgets with which status it ended."""
    out.write(lines.beginning)
    rows = 0
    try:
        for hits in _watched(engines, begun):
            out.write(lines.lines(hits))
            rows += len(hits)
    except TrailsealError as error:
        out.write(lines.failure(f"The rest is missing: {error}"))
        out.flush()
        raise
    return rows


def _write_evidence(
    settings: Settings,
    engines: Engines,
    begun: Export,
    pairs: list[tuple[str, str]],
    question: Question,
    out: BinaryIO,
) -> int:
    evidence = Evidence(engines.ledger, engines.clock.monotonic)
    _await_signatures(engines, evidence, begun)
    rows = 0

    def shown() -> Iterator[tuple[Record, bytes]]:
        nonlocal rows
        for hits in _watched(engines, begun):
            for hit in hits:
                yield hit.record, render(hit, with_record=question.with_record)
            rows += len(hits)

    now_us = engines.clock.now_us()
    lines = evidence_lines(
        evidence,
        shown(),
        made_at=format_rfc3339(now_us),
        query=pairs,
        tenants=None,
        signers=_signers(settings, evidence),
        now_s=now_us // _US_IN_S,
    )
    out.writelines(lines)
    return rows


def _await_signatures(engines: Engines, evidence: Evidence, begun: Export) -> None:
    """Wait until all of the export is signed, as long as that takes where a pipeline runs."""
    given_up = engines.clock.monotonic() + _SIGNED_WITHIN_S
    wanted = {(extent.log, extent.partition): extent.next for extent in begun.extents}
    while True:
        late = [
            place
            for place, pinned in evidence.pin().items()
            if pinned.log.size_at(wanted.get(place, 0)) > (pinned.signed.size if pinned.signed else 0)
        ]
        if not late:
            return
        if engines.clock.monotonic() > given_up:
            notice("Some of it is not signed yet and is exported without proof: is `trailseal up` running?")
            return
        engines.clock.wait(_LOOK_AGAIN_S)


def _signers(settings: Settings, evidence: Evidence) -> tuple[Signer, ...]:
    """The logs' keys, which vouch for the file being whole."""
    try:
        ring = KeyFile(key_path(settings)).ring()
    except SettingsError as error:
        notice(f"The end of the file is not signed, so that rows could go missing from it: {error}")
        return ()
    return tuple(signer for pinned in evidence.pin().values() for signer in ring.signers(pinned.log.origin))


def _watched(engines: Engines, begun: Export) -> Iterator[list[Hit]]:
    """The export's batches, with a bar while somebody watches."""
    with export_bar() as bar:
        task = bar.add_task("Exporting", total=None if bar.disable else engines.index.count(begun.query).value)
        for hits in begun.batches():
            yield hits
            bar.advance(task, len(hits))


def export_bar() -> Progress:
    """Rows so far, rate and time left, while somebody watches."""
    return progress_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TextColumn("{task.completed:,.0f} events"),
        TimeRemainingColumn(),
    )


@contextmanager
def destination(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name once it is whole and on disk.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is None or str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
