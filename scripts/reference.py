"""Writes the generated pages of docs/reference from the code; with --check it only says what has drifted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import typer
from prometheus_client.metrics import MetricWrapperBase

from trailseal import telemetry
from trailseal.cli.app import app
from trailseal.settings import PREFIX, Settings, shown

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py from the code; change the code, then run it. -->\n\n"


_FROM_DATA = ("log", "index", "ledger", "secret_file", "seal_key_file")


def settings_page() -> str:
    """The table of settings."""
    rows = [
        f"| `{name}` | `{PREFIX}{name.upper()}` | {_default(name, field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        (
            "# Settings",
            "",
            "A flag wins over the environment, the environment over `trailseal.toml` (or the file named by",
            "`--config` or `TRAILSEAL_CONFIG`), the file over the default. An unknown or wrong setting stops the",
            "start by name.",
            "`trailseal settings` shows what is in force and where it comes from.",
            "",
            "| in `trailseal.toml` | in the environment | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def _default(name: str, value: object) -> str:
    if value in (None, ""):
        return "from `data`" if name in _FROM_DATA else "none"
    return f"`{shown(value)}`"


def metrics_page() -> str:
    """The table of metrics."""
    rows = []
    for value in vars(telemetry).values():
        if isinstance(value, MetricWrapperBase):
            described = next(iter(value.describe()))
            suffix = "_total" if described.type == "counter" else ""
            labels = ", ".join(f"`{label}`" for label in value._labelnames) or "-"  # noqa: SLF001 - no public way
            rows.append(f"| `{described.name}{suffix}` | {described.type} | {labels} | {described.documentation} |")
    return "\n".join(
        (
            "# Metrics",
            "",
            "`GET /metrics` in the text format of Prometheus. No label ever holds a tenant, an actor or anything",
            "else from an event.",
            "",
            "| name | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def cli_page() -> str:
    """Every command with its help, arguments and options."""
    root = typer.main.get_command(app)
    lines = [
        "# Command line",
        "",
        "Exit status: 0 done, 1 the answer is no (books that do not balance, nothing found under that name),",
        "2 called wrongly or a wrong setting, 3 an engine does not answer, 130 interrupted.",
        "",
    ]
    for path, command in _commands(root, "trailseal"):
        lines += [f"## `{path}`", "", _paragraph(command.help or ""), ""]
        lines += [line for parameter in command.params for line in _parameter(parameter)]
        lines += ["", *(line for line in (command.epilog or "").splitlines() if line), ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _commands(child, f"{path} {name}")
    else:
        yield path, command


def _paragraph(text: str) -> str:
    return "\n".join(line.strip() for line in text.replace("\b", "").strip().splitlines())


def _parameter(parameter: click.Parameter) -> list[str]:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return []
    flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        flags = f"`{parameter.metavar or (parameter.name or '').upper()}`"
    return [f"- {flags}: {getattr(parameter, 'help', '') or ''}".rstrip(": ")]


PAGES = {"settings.md": settings_page, "metrics.md": metrics_page, "cli.md": cli_page}


def main() -> None:
    """Write the pages, or with --check exit 1 if one of them is not what the code says."""
    drifted = []
    for name, page in PAGES.items():
        path, text = FOLDER / name, GENERATED + page()
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            drifted.append(name)
    if drifted:
        sys.exit(
            f"docs/reference: {', '.join(drifted)} differ from the code; run .venv/bin/python scripts/reference.py"
        )


if __name__ == "__main__":
    main()
