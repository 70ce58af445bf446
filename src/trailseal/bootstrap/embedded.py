"""The embedded profile: two SQLite files, a tantivy folder and this process's memory."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from trailseal.adapters.caches.memory import MemoryCache
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.indexes.tantivy_index import TantivyIndex
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.logs.sqlite import SqliteLog
from trailseal.bootstrap.engines import Engines, Role
from trailseal.bootstrap.folder import cursor_secret, make_folder
from trailseal.bootstrap.numbering import number_of_log
from trailseal.bootstrap.profiles import Urls
from trailseal.errors import SettingsError
from trailseal.ports.erasure import Erasable
from trailseal.settings import Settings


def open_embedded(settings: Settings, chosen: Urls, role: Role) -> Engines:
    """Open, and where the role may write, make, the files of the data folder; see `bootstrap.open_engines`."""
    if settings.dead_letter_topic:
        raise SettingsError("dead_letter_topic needs Kafka; the embedded profile keeps dead letters in its ledger.")
    read_only = role == "read"
    if not read_only:
        make_folder(settings.data)
    clock = SystemClock()
    ledger = SqliteLedger(Path(urlsplit(chosen.ledger).path), read_only=read_only)
    if read_only:
        ledger.logs()  # says that nothing was ever written here, before the index says that it is not complete

    log = SqliteLog(
        Path(urlsplit(chosen.log).path),
        log_number=lambda origin: number_of_log(ledger, origin, read_only=read_only),
        clock=clock,
        read_only=read_only,
    )
    index = TantivyIndex(
        Path(urlsplit(chosen.index).path),
        records=log,
        refresh_interval_s=settings.refresh_interval,
        read_only=read_only,
    )
    cache = MemoryCache(max_bytes=settings.cache_bytes, clock=clock)
    return Engines(
        log,
        index,
        ledger,
        cache,
        clock,
        cursor_secret(settings, read_only=read_only),
        "embedded",
        erasable=Erasable(log, index, ledger, log),
    )
