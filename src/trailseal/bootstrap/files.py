"""The embedded profile as files, for commands that copy or move them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trailseal.adapters.logs.sqlite import begin_next_epoch
from trailseal.adapters.sqlite_copy import check_database, copy_database, settle_database
from trailseal.bootstrap.profiles import EMBEDDED, urls
from trailseal.errors import UsageError
from trailseal.settings import Settings

__all__ = [
    "EmbeddedFiles",
    "begin_next_epoch",
    "check_database",
    "copy_database",
    "embedded_files",
    "settle_database",
]


@dataclass(frozen=True, slots=True)
class EmbeddedFiles:
    """The two files that hold everything in the embedded profile."""

    log: Path
    ledger: Path


def embedded_files(settings: Settings) -> EmbeddedFiles:
    """Where log and ledger are.

    Raises:
        UsageError: they are no files: this is the cluster profile.
    """
    chosen = urls(settings)
    if chosen.schemes != EMBEDDED:
        raise UsageError(
            "Only the embedded profile is copied by this command. Of a cluster, snapshot Elasticsearch (index and"
            " ledger in one snapshot) and keep the topic's records for as long as you may have to go back."
        )
    return EmbeddedFiles(Path(urlsplit(chosen.log).path), Path(urlsplit(chosen.ledger).path))
