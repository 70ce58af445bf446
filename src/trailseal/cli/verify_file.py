"""The offline half of `trailseal verify`: receipts and evidence files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from trailseal.cli.output import Form, as_table, notice, progress_bar, write_ndjson
from trailseal.errors import UsageError
from trailseal.merkle.receipts import MAX_RECEIPT_SIZE
from trailseal.model.timestamps import format_rfc3339
from trailseal.verification.files import EvidenceCheck, FileVerification, check_receipt, is_receipt
from trailseal.verification.trust import Trust

_BEGINNING = 64


def verify_file(path: Path, trust: Trust, form: Form) -> tuple[bool, bool]:
    """Check the file and say what came of it.

    Returns:
        Whether something in it does not hold, and whether something could not be checked.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
            stream.seek(0)
            if is_receipt(beginning):
                result = check_receipt(stream.read(MAX_RECEIPT_SIZE + 1), trust)
            else:
                result = EvidenceCheck(trust).run(_watched(stream, path.stat().st_size))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    _write(path, result, form)
    return bool(result.mismatches), bool(result.open_questions) or not result.checkpoints


def _watched(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """The lines, with a bar of the bytes read."""
    columns = (TextColumn("Verifying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=size)
        for line in stream:
            yield line
            bar.advance(task, len(line))


def _write(path: Path, result: FileVerification, form: Form) -> None:
    if not as_table(form):
        write_ndjson([_summary(result), *result.mismatches])
    for mismatch in result.mismatches if as_table(form) else ():
        notice(str(mismatch))
    for question in result.open_questions:
        notice(question)
    if not as_table(form):
        return
    for opened in result.checkpoints:
        times = [one.time for one in opened.cosignatures if one.time is not None]
        seen = f", cosigned at {format_rfc3339(max(times) * 1_000_000)}" if times else ""
        notice(f"Checkpoint of {opened.checkpoint.origin}: {opened.checkpoint.size:,} leaves{seen}.")
    if result.mismatches:
        notice(f"TAMPERING: {path} is not what was sealed.")
    else:
        notice(f"{path}: {result.verified:,} of {result.rows:,} records are what was sealed.")


def _summary(result: FileVerification) -> dict[str, Any]:
    return {
        "kind": result.kind,
        "rows": result.rows,
        "verified": result.verified,
        "checkpoints": [
            {
                "origin": opened.checkpoint.origin,
                "size": opened.checkpoint.size,
                "root": msgspec.to_builtins(opened.checkpoint.root),
                "cosigned_by": [one.key.name for one in opened.cosignatures],
            }
            for opened in result.checkpoints
        ],
    }
