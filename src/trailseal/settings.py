"""Every setting in one table: name, default, meaning. Flag > environment > ``trailseal.toml`` > default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from trailseal.errors import SettingsError

PREFIX = "TRAILSEAL_"
CONFIG_FILE = "trailseal.toml"
_NOT_SETTINGS = (
    "TRAILSEAL_TEST_",
    "TRAILSEAL_SERVERS_",
    "TRAILSEAL_COMPLETE",
    "TRAILSEAL_CONFIG",
)
"""Names that begin like settings but belong to the test suite, `scripts/servers` and shell completion."""
TOPIC_NAMES = (
    "kafka_bootstrap",
    "kafka_topic",
    "kafka_partitions",
    "kafka_add_partitions",
    "kafka_replication",
    "kafka_min_insync_replicas",
    "kafka_retention",
    "kafka_max_message_bytes",
    "kafka_repair",
    "kafka_wait",
)
"""What the topic's set-up alone reads from the environment (`scripts/setup_kafka.sh --help`)."""


class Settings(BaseSettings):
    """What an operator may choose. Immutable; built once by an entry point and handed down."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Field(Path("data"), description="Folder of the embedded profile; fills log, index and ledger.")
    log: str = Field("", description="URL of the log: sqlite:///FILE or kafka://HOST:PORT[,HOST:PORT]/TOPIC.")
    index: str = Field("", description="URL of the index: tantivy:///FOLDER or elasticsearch[+https]://HOST:PORT.")
    ledger: str = Field("", description="URL of the ledger: sqlite:///FILE or elasticsearch[+https]://HOST:PORT.")
    cache: str = Field(
        "memory://", description="URL of the query cache: memory://, redis://HOST:PORT/DB or rediss://…"
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port the API listens on.")
    workers: int = Field(1, ge=1, le=256, description="API processes of `serve`; `up` always has one.")
    threads: int = Field(16, ge=2, le=512, description="Requests one API process answers at the same time.")
    refresh_interval: float = Field(
        1.0, ge=0.05, le=60, description="Seconds until an accepted event shows up in searches, at most."
    )
    flush_records: int = Field(
        50_000, ge=1, description="Records after which the index is flushed before the refresh interval is over."
    )
    flush_bytes: int = Field(
        64 << 20, ge=1 << 20, description="Bytes after which the index is flushed before the interval is over."
    )
    cache_bytes: int = Field(64 << 20, ge=0, description="Memory of the memory:// cache, in bytes.")
    max_request_bytes: int = Field(
        32 << 20, ge=1 << 20, description="Largest body of POST /events after inflating, in bytes."
    )
    secret_file: Path | None = Field(
        None, description="File with the secret that signs cursors; default: `secret` in the data folder."
    )
    key_grace: float = Field(
        86_400.0,
        ge=0,
        le=30 * 86_400,
        description="Seconds for which API keys known before go on opening POST /events while the ledger cannot"
        " tell which were revoked.",
    )
    seal_key_file: Path | None = Field(
        None, description="File with the keys that sign checkpoints; default: `seal.key` in the data folder."
    )
    seal_origin: str = Field(
        "trailseal.local",
        description="Name of this site, like audit.example.com: what the names of new logs begin with.",
    )
    witnesses: str = Field(
        "",
        description="Witnesses that cosign checkpoints: `URL VKEY`, several separated by commas; further keys of"
        " a witness follow its first.",
    )
    open_integrity: bool = Field(
        default=False, description="Give tiles, checkpoints and consistency proofs to everybody, as public logs do."
    )
    elasticsearch_username: str = Field("", description="User of Elasticsearch; its password comes from a file.")
    elasticsearch_password_file: Path | None = Field(
        None, description="File with the password of `elasticsearch_username`."
    )
    elasticsearch_api_key_file: Path | None = Field(
        None, description="File with an API key of Elasticsearch in its base64 form; instead of user and password."
    )
    elasticsearch_ca_file: Path | None = Field(
        None, description="PEM file of the authorities to trust for Elasticsearch; default: the system's."
    )
    elasticsearch_shards: int = Field(
        1, ge=1, le=64, description="Primary shards of a month's index, from the next month made on."
    )
    elasticsearch_replicas: int = Field(
        1,
        ge=0,
        le=8,
        description="Copies of each shard beside the first; 0 only where losing a node may lose events.",
    )
    redis_username: str = Field("", description="User of Redis, where it has users.")
    redis_password_file: Path | None = Field(None, description="File with the password of Redis.")
    redis_ca_file: Path | None = Field(
        None, description="PEM file of the authorities to trust for a rediss:// cache; default: the system's."
    )
    consumer_group: str = Field("trailseal", description="Name under which consumers share the log.")
    dead_letter_topic: str = Field(
        "", description="Kafka topic that gets a copy of every dead letter; the ledger keeps them all the same."
    )
    bulk_records: int = Field(
        2_000, ge=1, le=50_000, description="The most events in one bulk request to Elasticsearch."
    )
    bulk_bytes: int = Field(
        5 << 20, ge=1 << 20, le=50 << 20, description="The most bytes of events in one bulk request, about."
    )
    bulks_in_flight: int = Field(
        3, ge=1, le=16, description="Bulk requests that one `consume` process has under way."
    )
    kafka_security_protocol: Literal["", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "", description="How to speak to Kafka; default: what the other kafka_ settings imply."
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="SASL mechanism; default: SCRAM-SHA-512 where there is a user name."
    )
    kafka_username: str = Field("", description="User name for Kafka's SASL.")
    kafka_password_file: Path | None = Field(None, description="File with the password for Kafka's SASL.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authorities that Kafka is checked by; default: the system's."
    )
    kafka_cert_file: Path | None = Field(None, description="PEM file of our certificate for Kafka.")
    kafka_key_file: Path | None = Field(None, description="PEM file of the key of our certificate for Kafka.")
    kafka_key_password_file: Path | None = Field(None, description="File with the password of that key.")
    kafka_client_config: Path | None = Field(
        None, description="File of more librdkafka client properties, one NAME=VALUE a line."
    )
    kafka_session_timeout: float = Field(
        45.0, ge=1, le=1800, description="Seconds of silence after which a consumer loses its partitions."
    )
    kafka_spread: str = Field(
        "default",
        description="Tenants, separated by commas, whose events are spread over all partitions by id instead of"
        " going to one by tenant.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity of our own log lines."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Form of our own log lines; auto: console on a terminal, json elsewhere."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class hands it in
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class hands it in
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment; the file is merged in `load_settings`, where its errors are named."""
        return init_settings, env_settings


def setting_names() -> tuple[str, ...]:
    """Every setting, in the order of the table."""
    return tuple(Settings.model_fields)


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """Read flags, environment and file.

    Args:
        flags: settings given on the command line; None values count as not given.
        config: the file to read; default: ``TRAILSEAL_CONFIG``, else ``trailseal.toml`` where it exists.

    Raises:
        SettingsError: an unknown or wrong setting; the text names it, its source and the rule.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown_environment()
    from_file = _read_file(config)
    merged = {name: value for name, value in from_file.items() if PREFIX + name.upper() not in os.environ}
    try:
        return Settings(**(merged | given))
    except ValidationError as error:
        raise SettingsError(_explain(error, given, from_file)) from error


def source_of(name: str, flags: Mapping[str, Any] | None = None, config: Path | None = None) -> str:
    """Where the setting's value comes from: ``flag``, ``environment``, ``file`` or ``default``."""
    if (flags or {}).get(name) is not None:
        return "flag"
    if PREFIX + name.upper() in os.environ:
        return "environment"
    return "file" if name in _read_file(config) else "default"


def shown(value: object) -> str:
    """The value as text, without the user and password of a URL."""
    text = str(value)
    parts = urlsplit(text)
    if "@" in parts.netloc:
        return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
    return text


def _config_path(config: Path | None) -> tuple[Path, bool]:
    named = config or (Path(os.environ["TRAILSEAL_CONFIG"]) if os.environ.get("TRAILSEAL_CONFIG") else None)
    return (named, True) if named else (Path(CONFIG_FILE), False)


def _read_file(config: Path | None) -> dict[str, Any]:
    path, named = _config_path(config)
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            raise SettingsError(f"The settings file {path} does not exist; create it or drop --config.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error}.") from error
    for name in found:
        if name not in Settings.model_fields:
            raise SettingsError(f"{path} has an unknown setting {name!r}. {_advice(name)}")
    return found


def _refuse_unknown_environment() -> None:
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable.startswith(_NOT_SETTINGS):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Settings.model_fields and name not in TOPIC_NAMES:
            raise SettingsError(f"The environment has an unknown setting {variable}. {_advice(name)}")


def _advice(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    close = get_close_matches(name, setting_names(), n=1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}`trailseal settings` lists all."


def _explain(error: ValidationError, flags: Mapping[str, Any], from_file: Mapping[str, Any]) -> str:
    sentences = []
    for item in error.errors():
        name = str(item["loc"][0])
        if name in flags:
            source = "--" + name.replace("_", "-")
        elif PREFIX + name.upper() in os.environ:
            source = PREFIX + name.upper()
        else:
            source = f"{name} in {CONFIG_FILE}" if name in from_file else name
        sentences.append(f"{source} is wrong: {item['msg']} (given: {shown(item['input'])!r}).")
    return " ".join(sentences)
