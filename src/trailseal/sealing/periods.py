"""The weekly secrets from which records without a salt of their own get one.

Which secret serves a record follows from its append time alone, so every consumer and every replay derives the
same salt. A secret is a document of the ledger, created once, before its first use.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Final

from trailseal.errors import Fenced, IntegrityViolation
from trailseal.merkle.frame import SALT_SIZE
from trailseal.ports.ledger import Ledger
from trailseal.sealing.state import fingerprint

WEEK_MS: Final = 7 * 86_400_000


def week_of(timestamp_ms: int) -> int:
    """The week of an append time, counted from 1970-01-01 UTC; times before are week 0."""
    return max(timestamp_ms, 0) // WEEK_MS


class PeriodSecrets:
    """The secrets of one log. Safe to use from many threads."""

    def __init__(self, ledger: Ledger, log: int) -> None:
        self._ledger, self._log = ledger, log
        self._known: dict[int, bytes] = {}

    def known(self, week: int) -> bytes | None:
        """The secret, if this object has seen it already: asks nobody."""
        return self._known.get(week)

    def find(self, week: int) -> bytes | None:
        """The secret, or None where it was never needed, or has been destroyed or damaged."""
        known = self._known.get(week)
        if known is None:
            document = self._ledger.document(self._name(week))
            if document is None or len(document.body) != SALT_SIZE:
                return None
            known = self._known[week] = document.body
        return known

    def obtain(self, week: int, mark: bytes | None) -> bytes:
        """The secret, made where there is none yet.

        Args:
            week: see `week_of`.
            mark: the fingerprint that the head has of it, or None where no leaf has needed it yet.

        Raises:
            IntegrityViolation: the head has leaves that were made with another secret.
        """
        secret = self.find(week)
        if secret is None and mark is None:
            with suppress(Fenced):
                self._ledger.put_document(self._name(week), secrets.token_bytes(SALT_SIZE), None)
            secret = self.find(week)
        if secret is None or mark not in {None, fingerprint(secret)}:
            raise IntegrityViolation(
                f"The secret of week {week} of log {self._log} is not the one its leaves were made with: restore"
                " the ledger from a backup."
            )
        return secret

    def _name(self, week: int) -> str:
        return f"seal/period/{self._log}/{week}"
