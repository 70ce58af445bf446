"""How to reach the brokers: addresses, credentials, and one place where Kafka's errors become ours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException

from trailseal.errors import PipelineFault, SettingsError, TrailsealError, Unavailable

ANSWER_S: Final = 10.0
"""Seconds a broker has to answer a question."""

_CREDENTIALS = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - a constant
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._SSL,  # noqa: SLF001 - the same
)
_SILENCE = (
    KafkaError._TIMED_OUT,  # noqa: SLF001 - the same
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the same
    KafkaError._TRANSPORT,  # noqa: SLF001 - the same
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the same
)
_RECENT_S: Final = 30.0
_RIGHTS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_NO_TOPIC = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the same
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the same
)


class Refusals:
    """Remembers that brokers refused us: the calls that suffer from it only see that nobody answers."""

    def __init__(self) -> None:
        self._noted_at = float("-inf")

    def note(self, problem: KafkaError) -> None:
        """Called by librdkafka for every trouble of a connection."""
        if problem.code() in _CREDENTIALS:
            self._noted_at = time.monotonic()

    @property
    def recent(self) -> bool:
        """Whether that was so just now."""
        return time.monotonic() - self._noted_at < _RECENT_S


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Which topic, how to reach it, how much at once. Secrets never show in ``repr``.

    Attributes:
        brokers: ``HOST:PORT[,HOST:PORT]``.
        topic: the topic's name.
        security: librdkafka properties of the connection: protocol, mechanism, files, credentials.
        spread: tenants whose events go to every partition by their id, because one partition is too little for
            them; everybody else's go to one partition by the tenant.
        delivery_timeout_s: how long a record may wait for its acknowledgement.
        waiting_records: appended records without an acknowledgement above which no more are taken.
        waiting_bytes: the same in bytes.
        session_timeout_s: a member of a group that is silent this long loses its partitions.
        refusals: see `Refusals`.
    """

    brokers: str
    topic: str
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    spread: frozenset[str] = frozenset({"default"})
    delivery_timeout_s: float = 30.0
    waiting_records: int = 200_000
    waiting_bytes: int = 128 << 20
    session_timeout_s: float = 45.0
    refusals: Refusals = field(default_factory=Refusals, repr=False, compare=False)

    def properties(self, **more: Any) -> dict[str, Any]:
        """Librdkafka's properties for any client; what goes wrong is raised by calls, so it prints nothing."""
        common = {
            "bootstrap.servers": self.brokers,
            "client.id": "trailseal",
            "log_level": "0",
            "reconnect.backoff.max.ms": "1000",
        }
        asked = {name.replace("_", "."): value for name, value in more.items()}
        return {**common, **self.security, "error_cb": self.refusals.note, **asked}


def options_from_url(url: str, *, security: Mapping[str, str] | None = None, **more: Any) -> KafkaOptions:
    """Options from ``kafka://HOST:PORT[,HOST:PORT]/TOPIC``.

    Raises:
        SettingsError: the URL names no broker or no topic.
    """
    parts = urlsplit(url)
    topic = parts.path.strip("/")
    if parts.scheme != "kafka" or not parts.netloc or not topic or "/" in topic or parts.query:
        raise SettingsError("The Kafka log is written kafka://HOST:PORT[,HOST:PORT]/TOPIC.")
    if "@" in parts.netloc:
        raise SettingsError(
            "A kafka:// URL holds no credentials: set kafka_username and kafka_password_file instead."
        )
    return KafkaOptions(parts.netloc, topic, security or {}, **more)


@dataclass(frozen=True, slots=True)
class Security:
    """TLS and SASL by the names of the settings; all of it optional.

    Attributes:
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
        username: for SASL.
        password_file: a file whose text is the password; a newline at its end is not part of it.
        ca_file: PEM file of the authorities to trust; None = the system's.
        cert_file: PEM file of our own certificate, where brokers ask for one.
        key_file: PEM file of its key.
        key_password_file: a file whose text opens the key.
        client_config: a file of more librdkafka properties, one NAME=VALUE a line; what is set here wins over it.
    """

    protocol: str = ""
    mechanism: str = ""
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    client_config: Path | None = None

    def properties(self) -> dict[str, str]:
        """Librdkafka's properties.

        Raises:
            SettingsError: a file cannot be read, or what is given does not go together.
        """
        found = {} if self.client_config is None else _client_file(self.client_config)
        for name, path in (
            ("ssl.ca.location", self.ca_file),
            ("ssl.certificate.location", self.cert_file),
            ("ssl.key.location", self.key_file),
        ):
            if path is not None:
                _secret_text(path)
                found[name] = str(path)
        if self.key_password_file is not None:
            found["ssl.key.password"] = _secret_text(self.key_password_file)
        if self.username or self.mechanism or self.password_file:
            if not (self.username and self.password_file):
                raise SettingsError("Kafka's SASL needs both kafka_username and kafka_password_file.")
            found["sasl.mechanism"] = self.mechanism or "SCRAM-SHA-512"
            found["sasl.username"] = self.username
            found["sasl.password"] = _secret_text(self.password_file)
        protocol = self.protocol or found.get("security.protocol", "") or self._implied()
        if protocol:
            found["security.protocol"] = protocol
        return found

    def _implied(self) -> str:
        """The protocol that the rest only makes sense with."""
        if self.username:
            return "SASL_SSL"
        return "SSL" if self.ca_file or self.cert_file else ""


def _client_file(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(_secret_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(f"{path}, line {number} is not NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def _secret_text(path: Path) -> str:
    try:
        return path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"The file {path}, which a Kafka setting names, cannot be read: {why}.") from error


def wrong_property(error: KafkaException) -> SettingsError:
    """A client could not be made: the text names the property, and a secret is a value and not part of it."""
    return SettingsError(f"A Kafka client property is wrong: {error.args[0].str()}.")


def translate(problem: KafkaError, options: KafkaOptions, doing: str) -> TrailsealError:
    """Our error for one of Kafka's.

    Bad credentials and missing rights are waited out like an outage: they are mended outside, and nothing may be
    given up meanwhile.
    """
    code, where = problem.code(), f"Kafka at {options.brokers}"
    if refused(problem, options):
        return Unavailable(f"{where} refused our credentials or certificate: check the kafka_* settings.")
    if code in _RIGHTS:
        return Unavailable(f"{where} does not let us {doing}: grant Read, Write and Describe on {options.topic}.")
    if code in _NO_TOPIC:
        return Unavailable(f"{where} has no topic {options.topic}: make it with scripts/setup_kafka.sh.")
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return PipelineFault(
            f"The topic {options.topic} refuses a record for its size, and records of 1 MiB are legal: run"
            " scripts/setup_kafka.sh, which raises max.message.bytes."
        )
    return Unavailable(f"{where} cannot {doing} now ({problem.name()}).")


def refused(problem: KafkaError, options: KafkaOptions) -> bool:
    """Whether the brokers refused our credentials, or are silent because they did."""
    code = problem.code()
    return code in _CREDENTIALS or (code in _SILENCE and options.refusals.recent)


def shown_id(uuid: object) -> str:
    """A topic's id as Kafka writes it. librdkafka's has ``+`` and ``/``, which cannot stand in a log's name."""
    return str(uuid).replace("+", "-").replace("/", "_")


@contextmanager
def translated(options: KafkaOptions, doing: str) -> Iterator[None]:
    """Turn Kafka's exceptions into ours; ``doing`` completes "cannot …"."""
    try:
        yield
    except TimeoutError as error:
        if options.refusals.recent:
            raise translate(KafkaError(KafkaError._AUTHENTICATION), options, doing) from error  # noqa: SLF001 - a constant
        raise Unavailable(f"Kafka at {options.brokers} does not answer, so it cannot {doing}.") from error
    except KafkaException as error:
        raise translate(error.args[0], options, doing) from error
