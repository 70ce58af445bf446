"""Parameters of the routes that take a few single ones."""

from __future__ import annotations

from trailseal.errors import InvalidQuery, Problem
from trailseal.query.parsing import split_query_string


def single_parameters(raw: str, known: tuple[str, ...]) -> dict[str, str]:
    """Names and values of a query string in which each name may stand once.

    Raises:
        InvalidQuery: an unknown, repeated or empty parameter; the problem names it.
    """
    given: dict[str, str] = {}
    for name, value in split_query_string(raw):
        if name not in known:
            detail = f"{name!r} is not a parameter here. Known: {', '.join(known)}."
            raise InvalidQuery(Problem("unknown-parameter", detail, parameter=name))
        if name in given:
            raise InvalidQuery(Problem("repeated-parameter", f"{name} may be given only once.", parameter=name))
        if not value:
            detail = f"{name} is empty: give a value, or leave the parameter out."
            raise InvalidQuery(Problem("empty-value", detail, parameter=name))
        given[name] = value
    return given
