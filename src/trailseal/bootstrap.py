"""The only place that knows adapters: settings in, engines out."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from trailseal.adapters import locks
from trailseal.adapters.clock import SystemClock
from trailseal.errors import PipelineFault, SettingsError, Unavailable, UsageError
from trailseal.event_consumer.epochs import epoch_of, number_of
from trailseal.ports.cache import QueryCache
from trailseal.ports.clock import Clock
from trailseal.ports.erasure import Erasable
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.ports.upkeep import MonthUpkeep
from trailseal.ports.witness import Witness
from trailseal.settings import Settings

if TYPE_CHECKING:
    from trailseal.adapters.caches.redis import RedisOptions
    from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
    from trailseal.adapters.logs.kafka_connection import KafkaOptions

Role = Literal["up", "serve", "consume", "import", "read"]
"""Who opens: `read` writes nothing at all; `serve` appends; the others append and may run the pipeline."""

_NO_LOG = 0
"""The number of a topic that no ledger takes in."""
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
    dead_letter_log: EventLog | None = None
    """Where copies of dead letters go, for a role that may run the pipeline."""
    erasable: Erasable | None = None
    """The engines that an erasure is carried out on, where they can do it."""
    months: MonthUpkeep | None = None
    """Looks after an index that keeps its own records; None where the log keeps them."""

    def close(self) -> None:
        """Close everything, the readers first."""
        self.cache.close()
        self.index.close()
        self.log.close()
        if self.dead_letter_log is not None:
            self.dead_letter_log.close()
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
            _engine(urlsplit(url).scheme) for url in (self.log, self.index, self.ledger, self.cache)
        )
        return log, index, ledger, cache


def _engine(scheme: str) -> str:
    """The engine of a scheme, with TLS or without."""
    name = scheme.partition("+")[0]
    return {"rediss": "redis", "http": "elasticsearch", "https": "elasticsearch"}.get(name, name)


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


def check_role(settings: Settings, role: Role) -> None:
    """Insist that the settings choose engines that this role can work on; nothing is opened.

    Raises:
        SettingsError: they do not.
    """
    _profile(urls(settings), role)


def set_up(settings: Settings) -> Iterator[str]:
    """Make what a cluster needs before its processes start: topic, indices, shared secret, seal keys. Idempotent.

    Yields:
        A sentence for each thing: what was done, or that it was there.

    Raises:
        SettingsError: the settings choose no cluster, or contradict one that is there.
        PipelineFault: something under our names is not ours.
        Unavailable: a server does not answer.
    """
    from trailseal.adapters.indexes.elasticsearch import set_up_index  # noqa: PLC0415 - each profile loads its own
    from trailseal.adapters.ledgers.elasticsearch import set_up_ledger  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.kafka_topic_plan import plan_from  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.kafka_topics import ensure_topic  # noqa: PLC0415 - the same

    chosen = urls(settings)
    if profile(settings) != "cluster":
        raise SettingsError("There is nothing to set up: the embedded profile makes its files at the first start.")
    options = kafka_options(settings, chosen.log)
    report = ensure_topic(options.properties(), plan_from(os.environ, topic=options.topic))
    done = "created" if report.created else "is there"
    yield f"topic {report.name}: {done}, {report.state.partitions} partitions"
    yield from (*report.changes, *report.worries)
    yield from set_up_index(
        _elasticsearch_options(settings, chosen.index),
        shards=settings.elasticsearch_shards,
        replicas=settings.elasticsearch_replicas,
        refresh_interval_s=settings.refresh_interval,
    )
    yield from set_up_ledger(
        _elasticsearch_options(settings, chosen.ledger), replicas=settings.elasticsearch_replicas
    )
    _make_folder(settings.data)
    path = settings.secret_file or settings.data / "secret"
    made = not path.exists()
    _make_secret(path)
    yield f"cursor secret {path}: {'made; every API process needs the same' if made else 'is there'}"


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
    if chosen.schemes != _EMBEDDED:
        raise UsageError(
            "Only the embedded profile is copied by this command. Of a cluster, snapshot Elasticsearch (index and"
            " ledger in one snapshot) and keep the topic's records for as long as you may have to go back."
        )
    return EmbeddedFiles(Path(urlsplit(chosen.log).path), Path(urlsplit(chosen.ledger).path))


def copy_database(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy a log or ledger file while others use it; see `adapters.sqlite_copy.copy_database`."""
    from trailseal.adapters.sqlite_copy import copy_database as copied  # noqa: PLC0415 - only two commands need it

    copied(source, target, progress)


def check_database(path: Path) -> None:
    """Let SQLite look through a log or ledger file that nobody uses.

    Raises:
        UsageError: it is damaged.
        Unavailable: it cannot be read now.
    """
    from trailseal.adapters.sqlite_copy import check_database as checked  # noqa: PLC0415 - the same

    checked(path)


def settle_database(path: Path) -> None:
    """Leave no journal beside a log or ledger file that nobody uses; see `adapters.sqlite_copy`."""
    from trailseal.adapters.sqlite_copy import settle_database as settled  # noqa: PLC0415 - the same

    settled(path)


def begin_next_epoch(log_file: Path) -> str:
    """Make a restored log another one; see `adapters.logs.sqlite.begin_next_epoch`."""
    from trailseal.adapters.logs.sqlite import begin_next_epoch as begun  # noqa: PLC0415 - the same

    return begun(log_file)


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

    if settings.dead_letter_topic:
        raise SettingsError("dead_letter_topic needs Kafka; the embedded profile keeps dead letters in its ledger.")
    read_only = role == "read"
    if not read_only:
        _make_folder(settings.data)
    clock = SystemClock()
    ledger = SqliteLedger(Path(urlsplit(chosen.ledger).path), read_only=read_only)
    if read_only:
        ledger.logs()  # says that nothing was ever written here, before the index says that it is not complete

    log = SqliteLog(
        Path(urlsplit(chosen.log).path),
        log_number=lambda origin: _number(ledger, origin, read_only=read_only),
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
        _secret(settings, read_only=read_only),
        "embedded",
        erasable=Erasable(log, index, ledger),
    )


def _open_cluster(settings: Settings, chosen: _Urls, role: Role) -> Engines:
    """Opened without asking any server: a process starts while they are down, and says so."""
    from trailseal.adapters.caches.redis import RedisCache  # noqa: PLC0415 - each profile loads its own clients
    from trailseal.adapters.elasticsearch.bulk import BulkLimits  # noqa: PLC0415 - the same
    from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, IndexOptions  # noqa: PLC0415 - the same
    from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger  # noqa: PLC0415 - the same
    from trailseal.adapters.logs.kafka import KafkaLog  # noqa: PLC0415 - the same

    read_only = role == "read"
    ledger = ElasticsearchLedger(_elasticsearch_options(settings, chosen.ledger), read_only=read_only)
    index = ElasticsearchIndex(
        _elasticsearch_options(settings, chosen.index),
        ledger,
        IndexOptions(
            refresh_interval_s=settings.refresh_interval,
            bulk=BulkLimits(2 * settings.bulk_bytes, settings.bulk_records, settings.bulks_in_flight),
        ),
    )
    options = kafka_options(settings, chosen.log)
    log = KafkaLog(
        options,
        log_number=lambda origin: _number_at_the_door(ledger, origin, role),
        epoch=lambda base: epoch_of(ledger, base),
        read_only=read_only,
    )
    dead_letter_log = None
    if settings.dead_letter_topic and role == "consume":
        dead_letter_log = KafkaLog(replace(options, topic=settings.dead_letter_topic), log_number=lambda _: _NO_LOG)
    return Engines(
        log,
        index,
        ledger,
        RedisCache(_redis_options(settings, chosen.cache)),
        SystemClock(),
        _secret(settings, read_only=role != "serve"),
        "cluster",
        dead_letter_log,
        months=index.upkeep(SystemClock()),
    )


def kafka_options(settings: Settings, url: str) -> KafkaOptions:
    """How to reach the topic that the URL names.

    Raises:
        SettingsError: the URL, a file or a mix of settings cannot be used.
    """
    from trailseal.adapters.logs.kafka_connection import Security, options_from_url  # noqa: PLC0415 - the same

    security = Security(
        protocol=settings.kafka_security_protocol,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password_file=settings.kafka_password_file,
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        key_password_file=settings.kafka_key_password_file,
        client_config=settings.kafka_client_config,
    )
    return options_from_url(
        url,
        security=security.properties(),
        spread=frozenset(name.strip() for name in settings.kafka_spread.split(",") if name.strip()),
        session_timeout_s=settings.kafka_session_timeout,
    )


def _number_at_the_door(ledger: Ledger, origin: str, role: Role) -> int:
    """As `_number`; whoever stands at the API's door can only come back when an operator has acted."""
    try:
        return _number(ledger, origin, read_only=role == "read")
    except PipelineFault as fault:
        if role != "serve":
            raise
        raise Unavailable(str(fault)) from fault


def _number(ledger: Ledger, origin: str, *, read_only: bool) -> int:
    """The number of the log that is written to and read from."""
    if not read_only:
        return number_of(ledger, origin)
    known = ledger.log_number(origin)
    if known is None:
        raise Unavailable("Nothing of this log was ever taken in; start `trailseal up` or `trailseal consume`.")
    return known


def open_ledger(settings: Settings, *, writing: bool) -> tuple[Ledger, Clock]:
    """The ledger alone, for commands on its small documents, beside whatever runs.

    Raises:
        SettingsError: as `open_engines`.
        Unavailable: it does not answer, or, where nothing is to be written, was never made.
    """
    chosen = urls(settings)
    if profile(settings) == "cluster":
        from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger  # noqa: PLC0415 - as below

        return ElasticsearchLedger(
            _elasticsearch_options(settings, chosen.ledger), read_only=not writing
        ), SystemClock()
    from trailseal.adapters.ledgers.sqlite import SqliteLedger  # noqa: PLC0415 - each profile loads its own clients

    if writing:
        _make_folder(settings.data)
    return SqliteLedger(Path(urlsplit(chosen.ledger).path), read_only=not writing), SystemClock()


def profile(settings: Settings) -> Literal["embedded", "cluster"]:
    """Which profile the settings choose; nothing is opened.

    Raises:
        SettingsError: an unknown scheme, or a mix of engines that cannot work.
    """
    return "embedded" if _profile(urls(settings), "read") is _open_embedded else "cluster"


def _elasticsearch_options(settings: Settings, url: str) -> ElasticsearchOptions:
    """How to reach the Elasticsearch of that URL, with the credentials of the settings.

    Raises:
        SettingsError: the URL, a file, or what they are together makes no sense.
    """
    from trailseal.adapters.elasticsearch.options import options_from_url  # noqa: PLC0415 - as above

    return options_from_url(
        url,
        username=settings.elasticsearch_username or None,
        password=_secret_text("elasticsearch_password_file", settings.elasticsearch_password_file),
        api_key=_secret_text("elasticsearch_api_key_file", settings.elasticsearch_api_key_file),
        ca_certs=_trusted("elasticsearch_ca_file", settings.elasticsearch_ca_file),
    )


def _redis_options(settings: Settings, url: str) -> RedisOptions:
    """How to reach the Redis of that URL, with the credentials of the settings.

    Raises:
        SettingsError: a file cannot be read.
    """
    from trailseal.adapters.caches.redis import RedisOptions  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    prefix = given.pop("prefix", "trailseal")
    return RedisOptions(
        urlunsplit(parts._replace(query=urlencode(given))),
        prefix=f"{prefix}:",
        username=settings.redis_username or None,
        password=_secret_text("redis_password_file", settings.redis_password_file),
        ca_certs=_trusted("redis_ca_file", settings.redis_ca_file),
    )


def _secret_text(name: str, path: Path | None) -> str | None:
    """The secret in a file, without the line's end; None where no file is named.

    Raises:
        SettingsError: the file cannot be read, or holds nothing.
    """
    if path is None:
        return None
    try:
        text = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{name}: the file {path} cannot be read: {why}.") from error
    if not text:
        raise SettingsError(f"{name}: the file {path} is empty; write the secret into it.")
    return text


def _trusted(name: str, path: Path | None) -> str | None:
    if path is not None and not os.access(path, os.R_OK):
        raise SettingsError(f"{name}: the file {path} cannot be read; it holds the authorities to trust, as PEM.")
    return None if path is None else str(path)


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
        if read_only:
            return secrets.token_bytes(32)
        if settings.secret_file or profile(settings) == "cluster":
            raise SettingsError(
                f"The secret file {path} does not exist: run `trailseal setup`, or copy it from another API host."
            ) from None
    except OSError as error:
        raise SettingsError(f"The secret file {path} cannot be read: {error.strerror}.") from error
    return _make_secret(path)


def _make_secret(path: Path) -> bytes:
    """The secret in that file, made by whoever comes first."""
    fresh = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(fresh)
    return fresh
