"""`trailseal setup`: everything a cluster needs before its processes start."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from trailseal import bootstrap
from trailseal.cli.options import Config, settings_from
from trailseal.cli.output import notice
from trailseal.errors import UsageError
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.keys import KeyFile
from trailseal.settings import Settings


def setup(
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Write the first admin key there instead of printing it."),
    ] = None,
    config: Config = None,
) -> None:
    """Make topic, indices, the secrets that processes share, and a first admin key; twice changes nothing.

    The topic is made as scripts/setup_kafka.sh makes it, from the same TRAILSEAL_KAFKA_ variables. The first key
    reaches every tenant; make narrower ones, then revoke it.
    """
    settings = settings_from(config)
    for sentence in bootstrap.set_up(settings):
        notice(sentence)
    _make_seal_keys(settings)
    _make_first_key(settings, key_file)


def _make_seal_keys(settings: Settings) -> None:
    file = KeyFile(bootstrap.key_path(settings))
    made = not file.path.exists()
    file.path.absolute().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.make(format_rfc3339(time.time_ns() // 1_000))
    notice(f"seal keys {file.path}: {'made; every consumer needs the same' if made else 'are there'}")


def _make_first_key(settings: Settings, key_file: Path | None) -> None:
    from trailseal.api.credentials import create_key, list_keys  # noqa: PLC0415 - commands start fast without the API

    ledger, clock = bootstrap.open_ledger(settings, writing=True)
    try:
        if list_keys(ledger):
            notice("API keys: there is one already; `trailseal api-keys list` shows them")
            return
        stream = None if key_file is None else _private(key_file)
        _, text = create_key(ledger, clock, scopes=("admin",), tenants=None, note="the first, by trailseal setup")
    finally:
        ledger.close()
    if stream is None:
        typer.echo(text)
        notice("That is the first API key: keep it now, it cannot be shown again.")
    else:
        with os.fdopen(stream, "w") as file:
            file.write(text + "\n")
        notice(f"The first API key is in {key_file}; it cannot be shown again.")
    sys.stdout.flush()


def _private(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be made ({error.strerror}): name a file that is not there yet.") from error
