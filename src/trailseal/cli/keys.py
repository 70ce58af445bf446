"""`trailseal keys`: the keys that sign checkpoints."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from trailseal import bootstrap
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import notice
from trailseal.errors import Unavailable
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.origin import SealedLog
from trailseal.settings import Settings

keys = typer.Typer(help="Make, show and rotate the keys that sign checkpoints.", no_args_is_help=True)


@keys.command("make")
def make(
    post_quantum: Annotated[
        bool,
        typer.Option("--post-quantum", help="An ML-DSA-44 key beside it, also in a file that is there."),
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make the key file, readable by its owner only; one that is there keeps its keys.

    With --post-quantum checkpoints get a second signature line, which a quantum computer cannot forge. A running
    `trailseal up` or `consume` signs with both from its next checkpoint on.
    """
    settings = settings_from(config, data=data)
    file = KeyFile(bootstrap.key_path(settings))
    file.path.absolute().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    ring = file.make(_now(), post_quantum=post_quantum)
    held = "the key" if len(ring.keys) == 1 else f"{len(ring.keys)} keys"
    notice(f"{file.path} holds {held}. Keep a copy where the log's operators cannot reach it.")


@keys.command("show")
def show(data: Data = None, config: Config = None) -> None:
    """Print the public keys of every log, one a line: what auditors and witnesses need.

    Hand them over in person or by another way than the log's own API.
    """
    settings = settings_from(config, data=data)
    ring = KeyFile(bootstrap.key_path(settings)).ring()
    logs = _logs(settings)
    for log in logs:
        for key in ring.verifiers(log.origin):
            typer.echo(key.vkey())
    if not logs:
        notice("No log was sealed yet: its key has the log's name in it, and is shown once there is one.")


@keys.command("rotate")
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="End the overlap: only the new key signs, the old secret is gone.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Begin an overlap in which the old and a new key both sign; end it with --finish.

    A post-quantum key is rotated with the other. A running `trailseal up` signs with old and new from its next
    checkpoint on. Give auditors and witnesses the new keys of `trailseal keys show` before you finish.
    """
    settings = settings_from(config, data=data)
    file = KeyFile(bootstrap.key_path(settings))
    ring = file.finish() if finish else file.rotate(_now())
    signing = sum(key.secret is not None for key in ring.keys)
    notice(f"{signing} {'key signs' if signing == 1 else 'keys sign'} now.")


def _logs(settings: Settings) -> list[SealedLog]:
    engines = bootstrap.open_engines(settings, "read")
    ledger = engines.ledger
    try:
        found = [
            SealedLog.stored(ledger, number, head.partition)
            for number in ledger.logs()
            for head in ledger.heads(number)
        ]
    except Unavailable:
        return []
    finally:
        engines.close()
    return [log for log in found if log is not None]


def _now() -> str:
    return format_rfc3339(time.time_ns() // 1_000)
