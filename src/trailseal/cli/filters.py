"""The API's filters as options, written once for every command that asks a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from trailseal.errors import UsageError

_PANEL = "Filters"
Texts = list[str] | None


def _filter(name: str, meaning: str) -> Any:
    return typer.Option(
        name, help=f"{meaning} Repeat for any of them; * at the end = prefix.", rich_help_panel=_PANEL
    )


Conditions = Annotated[
    Texts,
    typer.Argument(metavar="[NAME=VALUE]...", help="Any API filter: 'actor!=bob', metadata.KEY=VALUE, q=WORDS."),
]
Actor = Annotated[Texts, _filter("--actor", "Who acted.")]
Action = Annotated[Texts, _filter("--action", "What was done.")]
ResourcePath = Annotated[Texts, _filter("--resource", "To what: type/id.")]
TenantId = Annotated[Texts, _filter("--tenant-id", "Whose events.")]
OutcomeName = Annotated[Texts, _filter("--outcome", "success, failure, denied or unknown.")]
SourceIp = Annotated[Texts, _filter("--source-ip", "An address or a network.")]
Words = Annotated[str | None, typer.Option("-q", "--words", help="Words to find.", rich_help_panel=_PANEL)]
TimeFrom = Annotated[
    str | None, typer.Option(help="From then on: RFC 3339, a date, or -24h.", rich_help_panel=_PANEL)
]
TimeTo = Annotated[str | None, typer.Option(help="Before then.", rich_help_panel=_PANEL)]
OrderName = Annotated[str | None, typer.Option("--order", help="desc = newest first (the default), or asc.")]


def asked(
    conditions: Texts, repeated: Mapping[str, Texts], single: Mapping[str, str | None]
) -> list[tuple[str, str]]:
    """The question's parameters, as the API has them.

    Args:
        conditions: NAME=VALUE, as they were written.
        repeated: of options that may be given several times, by the filter's name.
        single: of the others; None was not given.

    Raises:
        UsageError: a condition is none.
    """
    pairs = [_pair(text) for text in conditions or ()]
    pairs += [(name, value) for name, values in repeated.items() for value in values or ()]
    return pairs + [(name, value) for name, value in single.items() if value is not None]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            f"{text!r} is no filter; write NAME=VALUE, for example actor=alice or 'action!=user.signed_in'."
        )
    return name, value
