"""The only place that knows adapters: settings in, engines out."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from trailseal.adapters import locks
from trailseal.adapters.clock import SystemClock
from trailseal.errors import SettingsError, Unavailable
from trailseal.ports.cache import QueryCache
from trailseal.ports.clock import Clock
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.ports.witness import Witness
from trailseal.settings import Settings

Role = Literal["up", "serve", "consume", "import", "read"]
"""Who opens: `read` writes nothing at all; `serve` appends; the others append and may run the pipeline."""

_EMBEDDED = ("sqlite", "tantivy", "sqlite", "memory")
_CLUSTER = ("kafka", "elasticsearch", "elasticsearch", "redis")


@dataclass(frozen=True, slots=True)
class Engines:
    """The five ports, opened, and the secret that signs cursors."""

    log: EventLog
    index: EventIndex
    ledger: Ledger
    cache: QueryCache
    clock: Clock
    secret: bytes
    profile: Literal["embedded", "cluster"]

    def close(self) -> None:
        """Close everything, the readers first."""
        self.cache.close()
        self.index.close()
        self.log.close()
        self.ledger.close()


@dataclass(frozen=True, slots=True)
class _Urls:
    log: str
    index: str
    ledger: str
    cache: str

    @property
    def schemes(self) -> tuple[str, str, str, str]:
        log, index, ledger, cache = (
            urlsplit(url).scheme for url in (self.log, self.index, self.ledger, self.cache)
        )
        return log, index, ledger, cache


def urls(settings: Settings) -> _Urls:
    """The four engine URLs, with the data folder's defaults filled in."""
    data = settings.data.absolute()
    return _Urls(
        log=settings.log or f"sqlite://{data}/log.sqlite",
        index=settings.index or f"tantivy://{data}/index",
        ledger=settings.ledger or f"sqlite://{data}/ledger.sqlite",
        cache=settings.cache,
    )


def open_engines(settings: Settings, role: Role) -> Engines:
    """Open what the settings name.

    Raises:
        SettingsError: an unknown scheme, a mix of engines that cannot work, or a file that cannot be used.
        Unavailable: an engine does not answer.
    """
    chosen = urls(settings)
    open_profile = _profile(chosen, role)
    return open_profile(settings, chosen, role)


def witnesses(settings: Settings) -> tuple[Witness, ...]:
    """The witnesses that the settings name; nothing is asked yet.

    Raises:
        SettingsError: one of them is no URL and key.
    """
    from trailseal.adapters.witness import witnesses_from  # noqa: PLC0415 - only who signs asks them

    return witnesses_from(settings.witnesses)


def key_path(settings: Settings) -> Path:
    """The file with the keys that sign checkpoints."""
    return settings.seal_key_file or settings.data / "seal.key"


def lock_server(settings: Settings) -> locks.FileLock:
    """Take the data folder for one `trailseal up`, until the lock is released or the process dies.

    Raises:
        UsageError: another `trailseal up` runs on it.
        SettingsError: the folder cannot be made or written.
    """
    _make_folder(settings.data)
    return locks.lock_server(settings.data)


def _profile(chosen: _Urls, role: Role) -> Callable[[Settings, _Urls, Role], Engines]:
    known = (("sqlite", "kafka"), ("tantivy", "elasticsearch"), ("sqlite", "elasticsearch"), ("memory", "redis"))
    for name, scheme, allowed in zip(("log", "index", "ledger", "cache"), chosen.schemes, known, strict=True):
        if scheme not in allowed:
            raise SettingsError(f"{name}: {scheme or 'no'} scheme is not known; use {' or '.join(allowed)}.")
    if chosen.schemes == _EMBEDDED:
        if role in {"serve", "consume"}:
            raise SettingsError(
                f"`{role}` runs in processes of its own, and the embedded profile lives in one: use `trailseal up`,"
                " or set log, index, ledger and cache to Kafka, Elasticsearch and Redis."
            )
        return _open_embedded
    if chosen.schemes == _CLUSTER:
        return _open_cluster
    raise SettingsError(_why_not(chosen.schemes))


def _why_not(schemes: tuple[str, str, str, str]) -> str:
    log, index, ledger, cache = schemes
    if log == "kafka" and index == "tantivy":
        reason = "a tantivy index renders answers from the log, and Kafka keeps records only for its retention"
    elif log == "kafka" and ledger == "sqlite":
        reason = "consumers on several hosts cannot share a SQLite file"
    elif log == "kafka" and cache == "memory":
        reason = "the consumer cannot tell the memory of other processes that an answer is old"
    else:
        reason = "one host's log gains nothing from servers around it"
    return (
        f"log={log}, index={index}, ledger={ledger}, cache={cache} is not a mix that works: {reason}. Use all"
        f" embedded ({', '.join(_EMBEDDED)}) or all cluster ({', '.join(_CLUSTER)})."
    )


def _open_embedded(settings: Settings, chosen: _Urls, role: Role) -> Engines:
    from trailseal.adapters.caches.memory import MemoryCache  # noqa: PLC0415 - each profile loads its own clients
    from trailseal.adapters.indexes.tantivy_index import TantivyIndex  # noqa: PLC0415 - the same
    from trailseal.adapters.ledgers.sqlite import SqliteLedger  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.sqlite import SqliteLog  # noqa: PLC0415 - the same

    read_only = role == "read"
    if not read_only:
        _make_folder(settings.data)
    clock = SystemClock()
    ledger = SqliteLedger(Path(urlsplit(chosen.ledger).path), read_only=read_only)
    if read_only:
        ledger.logs()  # says that nothing was ever written here, before the index says that it is not complete

    def number(origin: str) -> int:
        known = ledger.log_number(origin) if read_only else ledger.register_log(origin)
        if known is None:
            raise Unavailable("Nothing was ever written here; start `trailseal up` or `trailseal import` first.")
        return known

    log = SqliteLog(Path(urlsplit(chosen.log).path), log_number=number, clock=clock, read_only=read_only)
    index = TantivyIndex(
        Path(urlsplit(chosen.index).path),
        records=log,
        refresh_interval_s=settings.refresh_interval,
        read_only=read_only,
    )
    cache = MemoryCache(max_bytes=settings.cache_bytes, clock=clock)
    return Engines(log, index, ledger, cache, clock, _secret(settings, read_only=read_only), "embedded")


def _open_cluster(_settings: Settings, _chosen: _Urls, _role: Role) -> Engines:
    raise SettingsError("The cluster profile is not finished; use the embedded one.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"The data folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(f"The data folder {folder} cannot be written to; change its owner or use --data.")


def _secret(settings: Settings, *, read_only: bool) -> bytes:
    """The secret that signs cursors; made at the first start of the embedded profile, mode 0600."""
    path = settings.secret_file or settings.data / "secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if read_only or settings.secret_file:
            return secrets.token_bytes(32)
    except OSError as error:
        raise SettingsError(f"The secret file {path} cannot be read: {error.strerror}.") from error
    fresh = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(fresh)
    return fresh
