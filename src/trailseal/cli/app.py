"""The commands and their names."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from trailseal.cli import (
    api_keys,
    backup,
    consume,
    dead_letters,
    epoch,
    erase,
    expire,
    export,
    import_files,
    keys,
    months,
    move,
    reconcile,
    search,
    serve,
    settings_table,
    setup,
    up,
    verifier,
    verify,
    witness,
)
from trailseal.cli.options import examples

app = typer.Typer(
    name="trailseal",
    help="An audit log that anyone can run and an outsider can check.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trailseal {version('trailseal')}")
        raise typer.Exit


@app.callback()
def _program(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An audit log that anyone can run and an outsider can check."""


app.command("up", epilog=examples("trailseal up", "trailseal up --data /var/lib/trailseal --port 9000"))(up.up)
app.command(
    "consume", epilog=examples("trailseal consume", "TRAILSEAL_PORT=8001 python -m trailseal.event_consumer")
)(consume.consume)
app.command(
    "import",
    epilog=examples(
        "trailseal import events.ndjson",
        "trailseal import --format cloudtrail --tenant prod cloudtrail-folder/",
        "zcat old/*.gz | trailseal import -",
    ),
)(import_files.import_files)
app.command(
    "search",
    epilog=examples(
        "trailseal search --actor alice --time-from -24h",
        "trailseal search 'action!=user.signed_in' outcome=denied",
        "trailseal search -q payroll --all > events.ndjson",
    ),
)(search.search)
app.command(
    "backup",
    epilog=examples(
        "trailseal backup /backups/audit-monday", "trailseal backup --with-keys --data /srv/audit /safe/x"
    ),
)(backup.backup)
app.command("move", epilog=examples("trailseal move --from ./data --config cluster.toml"))(move.move)
app.command(
    "restore",
    epilog=examples(
        "trailseal restore /backups/audit-monday --data ./restored",
        "trailseal restore --continue --data /srv/audit /backups/last",
    ),
)(backup.restore)
app.command(
    "export",
    epilog=examples(
        "trailseal export --time-from 2026-01-01 -o january.ndjson",
        "trailseal export outcome=denied --tenant-id acme -o denied.csv",
        "trailseal export --format csv | gzip > everything.csv.gz",
        "trailseal export --with-proofs --tenant-id acme -o evidence.ndjson",
    ),
)(export.export)
app.command(
    "erase",
    epilog=examples(
        "trailseal erase --tenant acme --actor alice --reason 'request 4711'",
        "trailseal erase --tenant acme --actor alice --reason 'request 4711' --approved-by counsel --yes",
        "trailseal erase --tenant acme --event-id e-42 --reason 'ticket 12' --yes",
    ),
)(erase.erase)
app.command(
    "expire",
    epilog=examples(
        "trailseal expire --before 2025-01 --reason 'policy: one year'",
        "trailseal expire --before 2025-01 --reason 'policy: one year' --approved-by counsel --yes",
    ),
)(expire.expire)
app.add_typer(dead_letters.dead_letters)
app.add_typer(epoch.epoch)
app.add_typer(api_keys.api_keys, name="api-keys")
app.add_typer(keys.keys, name="keys")
app.add_typer(witness.witness, name="witness")
app.command("reconcile", epilog=examples("trailseal reconcile", "trailseal reconcile --form ndjson"))(
    reconcile.reconcile
)
app.command(
    "verify",
    epilog=examples(
        "trailseal verify",
        'trailseal verify --key "$(cat log.vkey)" --witness "$(cat witness.vkey)" --checkpoint last-visit',
        "trailseal verify --id e-42 --tenant acme",
        'trailseal verify receipt.tlog-proof --key "$(cat log.vkey)"',
    ),
)(verify.verify)
app.command("months", epilog=examples("trailseal months", "trailseal months --form ndjson"))(months.months)
app.command(
    "reproject",
    epilog=examples("trailseal reproject", "trailseal reproject --month 2026-11", "trailseal reproject --all"),
)(months.reproject)
app.command("rebuild", epilog=examples("trailseal rebuild", "trailseal rebuild --accept-lost"))(months.rebuild)
app.command(
    "verifier",
    epilog=examples(
        "trailseal verifier > trailseal_verifier.py",
        "python3 trailseal_verifier.py --key VKEY receipt.tlog-proof",
    ),
)(verifier.verifier)
app.command("serve", epilog=examples("trailseal serve", "trailseal serve --host 0.0.0.0 --port 8000 --workers 4"))(
    serve.serve
)
app.command("setup", epilog=examples("trailseal setup", "trailseal setup --key-file first.key"))(setup.setup)
app.command(
    "settings", epilog=examples("trailseal settings", "TRAILSEAL_PORT=9000 trailseal settings --form ndjson")
)(settings_table.settings)
