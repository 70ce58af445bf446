"""`trailseal api-keys`: make, list and revoke the keys that open the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from trailseal import bootstrap
from trailseal.api.credentials import RELOAD_S, SCOPES, ApiKey, create_key, list_keys, revoke_key
from trailseal.cli.options import Config, Data, examples, settings_from
from trailseal.cli.output import Form, as_table, draw_table, notice, write_ndjson
from trailseal.errors import UsageError
from trailseal.model.timestamps import format_rfc3339
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.settings import Settings

api_keys = typer.Typer(
    help="Make, list and revoke the keys that open the API. From the first one on nothing is answered without one.",
    no_args_is_help=True,
)
_COLUMNS = ("key", "scopes", "tenants", "created", "revoked", "note")


@api_keys.command(
    "create",
    epilog=examples(
        "trailseal api-keys create --tenant acme --scope events:read --note dashboard",
        "trailseal api-keys create --all-tenants --scope admin",
    ),
)
def create(
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help=f"What it may do: {', '.join(SCOPES)}. Repeat for more.")
    ] = None,
    tenants: Annotated[
        list[str] | None, typer.Option("--tenant", help="Whose events it reaches. Repeat for more.")
    ] = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="It reaches every tenant's events, future ones too.")
    ] = False,
    note: Annotated[str, typer.Option("--note", help="For people: whom or what it is for.")] = "",
    form: Annotated[Form, typer.Option("--form", help="How to write the row.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a key and print it: this once, because only its hash is kept.

    Works beside a running server, which accepts the key at once.
    """
    if all_tenants == bool(tenants):
        raise UsageError("Say whose events the key reaches: --tenant NAME, once or more, or --all-tenants.")
    with _opened(settings_from(config, data=data), writing=True) as (ledger, clock):
        first = not list_keys(ledger)
        key, text = create_key(
            ledger, clock, scopes=scopes or (), tenants=None if all_tenants else tenants, note=note
        )
    if as_table(form):
        typer.echo(text)
    else:
        write_ndjson([{"api_key": text, **_row(key)}])
    notice("Keep it now: it cannot be shown again. Send it as the header Authorization: Bearer KEY.")
    if first:
        notice(f"It is the first key: within {RELOAD_S:g} s every request needs one, from this machine too.")


@api_keys.command("list", epilog=examples("trailseal api-keys list", "trailseal api-keys list --form ndjson"))
def list_(
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
    data: Data = None,
    config: Config = None,
) -> None:
    """List every key there ever was, the oldest first; the keys themselves are not kept anywhere."""
    with _opened(settings_from(config, data=data), writing=False) as (ledger, _):
        rows = [_row(key) for key in list_keys(ledger)]
    if not as_table(form):
        write_ndjson(rows)
    elif rows:
        draw_table(_COLUMNS, [tuple(_cell(row[column]) for column in _COLUMNS) for row in rows])
    else:
        notice("No key was ever made: the server answers to this machine only, without one.")


@api_keys.command("revoke", epilog=examples("trailseal api-keys revoke 3f9ac20b71de"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The middle part of the key, as `list` shows it.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a key worthless, within a second and on every server. Doing it twice changes nothing."""
    with _opened(settings_from(config, data=data), writing=True) as (ledger, clock):
        revoked = revoke_key(ledger, clock, _prefix(key))
    notice(f"{revoked.prefix} is revoked since {_time(revoked.revoked_us)}.")


@contextmanager
def _opened(settings: Settings, *, writing: bool) -> Iterator[tuple[Ledger, Clock]]:
    ledger, clock = bootstrap.open_ledger(settings, writing=writing)
    try:
        yield ledger, clock
    finally:
        ledger.close()


def _prefix(given: str) -> str:
    """Whoever has the whole key at hand may give that."""
    return given.split("_", 2)[1] if given.startswith("ts_") and given.count("_") > 1 else given


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "key": key.prefix,
        "scopes": key.scopes,
        "tenants": "*" if key.tenants is None else key.tenants,
        "created": _time(key.created_us),
        "revoked": _time(key.revoked_us),
        "note": key.note,
    }


def _time(us: int | None) -> str | None:
    return None if us is None else format_rfc3339(us)


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
