"""The options that many commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trailseal.settings import Settings, load_settings

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of the embedded profile.", rich_help_panel="Settings"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file instead of trailseal.toml.", rich_help_panel="Settings"
    ),
]


def settings_from(config: Path | None, **flags: Any) -> Settings:
    """The settings with these flags on top; a flag that was not given is None.

    Raises:
        SettingsError: see `load_settings`.
    """
    return load_settings(flags, config)


def examples(*commands: str) -> str:
    """An epilog that shows the commands, one a line."""
    return "**Examples**\n\n" + "\n".join(f"- `{command}`" for command in commands)
