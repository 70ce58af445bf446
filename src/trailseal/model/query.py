"""Questions: what to find, in the domain's words."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

Order = Literal["desc", "asc"]


class Field(StrEnum):
    """What a condition compares; values are the API's parameter names."""

    ACTOR = "actor"
    ACTION = "action"
    RESOURCE = "resource"
    RESOURCE_TYPE = "resource_type"
    TENANT = "tenant_id"
    OUTCOME = "outcome"
    SOURCE_IP = "source_ip"
    REQUEST_ID = "request_id"
    ID = "id"
    METADATA = "metadata"


class Exact(msgspec.Struct, frozen=True, gc=False, tag="is"):
    """The field equals the text (for metadata: the JSON text of a scalar)."""

    text: str


class Prefix(msgspec.Struct, frozen=True, gc=False, tag="prefix"):
    """The field begins with the text; never empty. ``actor=*`` is `Present` instead."""

    text: str


class Present(msgspec.Struct, frozen=True, gc=False, tag="present"):
    """The field is there, whatever it holds."""


class Network(msgspec.Struct, frozen=True, gc=False, tag="network"):
    """The address lies in [first, last], both canonical text of the same family (v4-mapped = v4)."""

    first: str
    last: str


Match = Exact | Prefix | Present | Network


class Condition(msgspec.Struct, frozen=True, gc=False):
    """One field's demand: any of the matches or, negated, none of them (a missing field has none).

    Attributes:
        key: for `Field.METADATA` the dotted path, else None.
    """

    field: Field
    any_of: tuple[Match, ...]
    negated: bool = False
    key: str | None = None


class Word(msgspec.Struct, frozen=True, gc=False):
    """One word of ``q``, already through `words.query_words`; ``prefix`` where it ended in ``*``."""

    text: str
    prefix: bool = False


class Query(msgspec.Struct, frozen=True, gc=False):
    """A complete question.

    Attributes:
        tenants: what the credential may see, sorted; None = every tenant. Always applied, whatever else is asked.
        conditions: all must hold.
        words: all must be found.
        time_from_us: inclusive, microseconds since 1970 UTC, or None.
        time_to_us: exclusive, or None.
        order: ``desc`` = newest first, by `SortKey`.
    """

    tenants: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    words: tuple[Word, ...] = ()
    time_from_us: int | None = None
    time_to_us: int | None = None
    order: Order = "desc"


class Count(msgspec.Struct, frozen=True, gc=False):
    """How many events match; ``exact`` is False where counting stopped at a ceiling."""

    value: int
    exact: bool = True
