"""One line of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A measured ratio and what it has to be.

    Attributes:
        what: the row's name.
        ours: our figure, with its unit.
        theirs: the peer's figure, with its unit.
        ratio: ours by theirs, so that more is better, unless ``at_most``.
        bound: what the ratio must reach (or not pass).
        at_most: the ratio must not pass the bound.
    """

    what: str
    ours: str
    theirs: str
    ratio: float
    bound: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the bound is kept."""
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound

    @property
    def asked(self) -> str:
        """The bound as text."""
        return f"<= {self.bound:g}" if self.at_most else f">= {self.bound:g}"
