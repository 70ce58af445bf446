"""Settings to connections: addresses, credentials from files, authorities to trust."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from trailseal.adapters.caches.redis import RedisOptions
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.elasticsearch.options import options_from_url as elasticsearch_from_url
from trailseal.adapters.logs.kafka_connection import KafkaOptions, Security
from trailseal.adapters.logs.kafka_connection import options_from_url as kafka_from_url
from trailseal.errors import SettingsError
from trailseal.settings import Settings


def kafka_options(settings: Settings, url: str) -> KafkaOptions:
    """How to reach the topic that the URL names.

    Raises:
        SettingsError: the URL, a file or a mix of settings cannot be used.
    """
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
    return kafka_from_url(
        url,
        security=security.properties(),
        spread=frozenset(name.strip() for name in settings.kafka_spread.split(",") if name.strip()),
        session_timeout_s=settings.kafka_session_timeout,
    )


def elasticsearch_options(settings: Settings, url: str) -> ElasticsearchOptions:
    """How to reach the Elasticsearch of that URL, with the credentials of the settings.

    Raises:
        SettingsError: the URL, a file, or what they are together makes no sense.
    """
    return elasticsearch_from_url(
        url,
        username=settings.elasticsearch_username or None,
        password=_secret_text("elasticsearch_password_file", settings.elasticsearch_password_file),
        api_key=_secret_text("elasticsearch_api_key_file", settings.elasticsearch_api_key_file),
        ca_certs=_trusted("elasticsearch_ca_file", settings.elasticsearch_ca_file),
    )


def redis_options(settings: Settings, url: str) -> RedisOptions:
    """How to reach the Redis of that URL, with the credentials of the settings.

    Raises:
        SettingsError: a file cannot be read.
    """
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
