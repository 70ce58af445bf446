"""Which engines the settings choose, and which mixes keep the promises."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from trailseal.bootstrap.engines import Profile, Role
from trailseal.errors import SettingsError
from trailseal.settings import Settings

EMBEDDED = ("sqlite", "tantivy", "sqlite", "memory")
CLUSTER = ("kafka", "elasticsearch", "elasticsearch", "redis")


@dataclass(frozen=True, slots=True)
class Urls:
    """The address of each engine; its scheme picks the adapter."""

    log: str
    index: str
    ledger: str
    cache: str

    @property
    def schemes(self) -> tuple[str, str, str, str]:
        """The engines, in the order log, index, ledger, cache."""
        log, index, ledger, cache = (
            _engine(urlsplit(url).scheme) for url in (self.log, self.index, self.ledger, self.cache)
        )
        return log, index, ledger, cache


def _engine(scheme: str) -> str:
    """The engine of a scheme, with TLS or without."""
    name = scheme.partition("+")[0]
    return {"rediss": "redis", "http": "elasticsearch", "https": "elasticsearch"}.get(name, name)


def urls(settings: Settings) -> Urls:
    """The four engine URLs, with the data folder's defaults filled in."""
    data = settings.data.absolute()
    return Urls(
        log=settings.log or f"sqlite://{data}/log.sqlite",
        index=settings.index or f"tantivy://{data}/index",
        ledger=settings.ledger or f"sqlite://{data}/ledger.sqlite",
        cache=settings.cache,
    )


def profile(settings: Settings, role: Role = "read") -> Profile:
    """Which profile the settings choose for this role; nothing is opened.

    Raises:
        SettingsError: an unknown scheme, a mix of engines that cannot work, or a role that they cannot serve.
    """
    chosen = urls(settings)
    known = (("sqlite", "kafka"), ("tantivy", "elasticsearch"), ("sqlite", "elasticsearch"), ("memory", "redis"))
    for name, scheme, allowed in zip(("log", "index", "ledger", "cache"), chosen.schemes, known, strict=True):
        if scheme not in allowed:
            raise SettingsError(f"{name}: {scheme or 'no'} scheme is not known; use {' or '.join(allowed)}.")
    if chosen.schemes == EMBEDDED:
        if role in {"serve", "consume"}:
            raise SettingsError(
                f"`{role}` runs in processes of its own, and the embedded profile lives in one: use `trailseal up`,"
                " or set log, index, ledger and cache to Kafka, Elasticsearch and Redis."
            )
        return "embedded"
    if chosen.schemes == CLUSTER:
        return "cluster"
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
        f" embedded ({', '.join(EMBEDDED)}) or all cluster ({', '.join(CLUSTER)})."
    )
