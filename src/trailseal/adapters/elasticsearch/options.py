"""Where an Elasticsearch is and how to speak to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from trailseal.errors import SettingsError

DEFAULT_PORT = 9200
MAX_PREFIX_LENGTH = 24
_PLAIN_SCHEMES = frozenset({"elasticsearch", "elasticsearch+http", "http"})
_TLS_SCHEMES = frozenset({"elasticsearch+https", "https"})
_PARAMETERS = frozenset({"ca", "prefix"})


@dataclass(frozen=True, slots=True)
class ElasticsearchOptions:
    """Hosts, credentials and names. Secrets never show in ``repr``.

    Attributes:
        hosts: (host, port) of every node that answers HTTP.
        tls: whether to speak HTTPS.
        ca_certs: a PEM file with the authorities to trust, or None for the system's.
        username: for basic authentication, or None.
        password: see ``username``.
        api_key: the base64 form Elasticsearch hands out; wins over ``username``.
        prefix: put before the name of every index, alias and template, so that deployments can share a cluster.
        request_timeout_s: how long one bulk or administrative call may take. Long on purpose: a bulk given up
            too early is sent twice.
        search_timeout_s: how long one question may take.
        connections: pooled connections per node.
    """

    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    ca_certs: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    prefix: str = ""
    request_timeout_s: float = 60.0
    search_timeout_s: float = 10.0
    connections: int = 10

    def __post_init__(self) -> None:
        """Refuse a prefix that Elasticsearch would refuse later, or that makes request lines too long."""
        allowed = self.prefix.replace("-", "").replace("_", "")
        legal = self.prefix.isascii() and (allowed.isalnum() or not allowed) and self.prefix == self.prefix.lower()
        if not legal or len(self.prefix) > MAX_PREFIX_LENGTH or self.prefix.startswith(("-", "_")):
            raise SettingsError(
                f"the index prefix {self.prefix!r} cannot be used: take up to {MAX_PREFIX_LENGTH} lower-case "
                "letters, digits, hyphens and underscores, beginning with a letter or a digit",
            )


def options_from_url(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    ca_certs: str | None = None,
) -> ElasticsearchOptions:
    """Options from ``elasticsearch[+https]://[user:password@]host[:port][,host…][?prefix=…&ca=…]``.

    Args:
        url: as above; ``http`` and ``https`` are understood too.
        username: wins over the URL's, so that secrets can stay out of URLs.
        password: the same.
        api_key: wins over both.
        ca_certs: wins over ``ca``.

    Raises:
        SettingsError: the URL cannot be understood.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PLAIN_SCHEMES | _TLS_SCHEMES:
        raise SettingsError(f"an Elasticsearch URL begins with elasticsearch:// or https://, not {parts.scheme!r}")
    given = parse_qs(parts.query)
    unknown = sorted(set(given) - _PARAMETERS)
    if unknown or parts.path.strip("/"):
        raise SettingsError(f"the Elasticsearch URL holds {unknown or 'a path'}; only ?prefix= and ?ca= are known")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    url_user, _, url_password = userinfo.partition(":")
    return ElasticsearchOptions(
        hosts=tuple(_host(name, parts) for name in hosts.split(",") if name),
        tls=parts.scheme in _TLS_SCHEMES,
        ca_certs=ca_certs or given.get("ca", [None])[-1],
        username=username or unquote(url_user) or None,
        password=password or unquote(url_password) or None,
        api_key=api_key,
        prefix=given.get("prefix", [""])[-1],
    )


def _host(text: str, parts: SplitResult) -> tuple[str, int]:
    """(host, port) of one element of the URL's list."""
    wrong = f"the {parts.scheme} URL names {text!r}, which is no host with a port"
    single = urlsplit(f"//{text}")
    try:
        host, port = single.hostname, single.port
    except ValueError as error:
        raise SettingsError(wrong) from error
    if not host:
        raise SettingsError(wrong)
    return host, port or DEFAULT_PORT
