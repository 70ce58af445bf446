"""`trailseal settings`: every setting, its value, and where the value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import Form, as_table, draw_table, write_ndjson
from trailseal.settings import Settings, shown, source_of


def settings(
    data: Data = None,
    config: Config = None,
    form: Annotated[Form, typer.Option("--form", help="How to write the rows.")] = Form.AUTO,
) -> None:
    """Show every setting, its value and where it comes from.

    Flags win over the environment (TRAILSEAL_NAME), which wins over trailseal.toml, which wins over the default.
    """
    flags = {"data": data}
    chosen = settings_from(config, **flags)
    rows = [
        {
            "name": name,
            "value": shown(getattr(chosen, name)),
            "source": source_of(name, flags, config),
            "default": shown(field.default),
            "meaning": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_table(form):
        draw_table(
            ("name", "value", "source", "meaning"),
            [(r["name"], r["value"], r["source"], r["meaning"]) for r in rows],
        )
    else:
        write_ndjson(rows)
