"""The page's address is its whole state: links that add a filter, take one away, or go on."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from trailseal.query.matching import escape

Pairs = tuple[tuple[str, str], ...]
_PLACE = frozenset({"cursor"})


@dataclass(frozen=True, slots=True)
class Address:
    """The parameters of one page, in order."""

    pairs: Pairs

    def query_string(self) -> str:
        """The parameters, percent-encoded; stars and slashes stay readable."""
        return urlencode(self.pairs, safe="*/:@!")

    def __str__(self) -> str:
        """The page's address."""
        return f"/?{self.query_string()}" if self.pairs else "/"

    def api(self) -> str:
        """The same question to the API."""
        return f"/events?{self.query_string()}" if self.pairs else "/events"

    def values(self, name: str) -> list[str]:
        """The values of a parameter."""
        return [value for key, value in self.pairs if key == name]

    def filtered(self, name: str, text: str) -> Address:
        """This page narrowed to events whose field is ``text``."""
        wanted = (name, escape(text))
        return self if wanted in self.pairs else self.changed({name: wanted[1]})

    def changed(self, single: dict[str, str | None]) -> Address:
        """This page from its beginning, with these parameters in place of what they held; None removes one."""
        kept = tuple(pair for pair in self.pairs if pair[0] not in single and pair[0] not in _PLACE)
        return Address((*kept, *((name, value) for name, value in single.items() if value is not None)))

    def without(self, pair: tuple[str, str]) -> Address:
        """This page from its beginning, without one parameter."""
        return Address(tuple(each for each in self.pairs if each != pair and each[0] not in _PLACE))

    def at(self, cursor: str) -> Address:
        """The page that begins at the cursor."""
        return Address((*self.changed({}).pairs, ("cursor", cursor)))
