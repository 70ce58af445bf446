"""Requests to Elasticsearch as bytes in, bytes out, and its troubles in our own words.

The transport under the official client is used directly: its typed client insists on a media type of its own
major version (so one client cannot speak to 8 and 9), and decodes every answer into dictionaries.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar

import msgspec
from elastic_transport import NodeConfig, Serializer, Transport, TransportError

from trailseal.adapters.elasticsearch.damaged import damage_in
from trailseal.adapters.elasticsearch.lines import Lines, OutOfTimeError, UnusableError
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.errors import PipelineFault, Unavailable

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
Method = Literal["GET", "PUT", "POST", "DELETE"]
_RETRYABLE: Final = frozenset({401, 403, 408, 429})
_SERVER_ERROR: Final = 500
_CREDENTIALS_RETRY_S: Final = 5.0
_GRANTED_BY: Final = re.compile(r"granted by the (cluster|index) privileges \[([a-z_,]+)\]")
_ON_INDICES: Final = re.compile(r" on indices \[([^\]]+)\], this action")
_T = TypeVar("_T")


class _Verbatim(Serializer):
    """Bodies are bytes already and stay bytes: each caller decodes into its own type."""

    mimetype = JSON

    def loads(self, data: bytes) -> bytes:
        """The answer as it came."""
        return data

    def dumps(self, data: Any) -> bytes:
        """The request as it goes."""
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an HTTP status that the caller asked to see, and the body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


class _Cause(msgspec.Struct, frozen=True):
    type: str = "unknown"
    reason: str | None = None


class _Failure(msgspec.Struct, frozen=True):
    error: _Cause | str = _Cause()


_FAILURE: Final = msgspec.json.Decoder(_Failure)


def error_type(body: bytes) -> str:
    """The type Elasticsearch gives its error; ``unknown`` where the body does not say."""
    try:
        error = _FAILURE.decode(body).error
    except msgspec.DecodeError:
        return "unknown"
    return error.type if isinstance(error, _Cause) else "unknown"


def error_reason(body: bytes) -> str:
    """The reason in Elasticsearch's words. Shown of set-up calls only: elsewhere it may quote an event."""
    try:
        error = _FAILURE.decode(body).error
    except msgspec.DecodeError:
        return "no reason given"
    return (error.reason or error.type) if isinstance(error, _Cause) else error


def missing_right(reason: str) -> str:
    """Which privilege would have allowed what was denied with 403 for that reason, and where, in one clause."""
    granted, where = _GRANTED_BY.search(reason), _ON_INDICES.search(reason)
    if granted is None:
        return "our role lacks a privilege; see Rights in docs/reference/elasticsearch-layout.md"
    # Elasticsearch names the narrowest first; `all` grants everything and is no advice.
    names = [name for name in granted[2].split(",") if name != "all"]
    on = "" if where is None else f" on {where[1].replace(',', ', ')}"
    return f"our role needs the {granted[1]} privilege {' or '.join(names) or 'all'}{on}"


def decoded(decoder: msgspec.json.Decoder[_T], answer: Answer, what: str) -> _T:
    """The answer's body in its type.

    Raises:
        Unavailable: it is cut off or something else than Elasticsearch's answer (a proxy's page).
        IntegrityViolation: a document in it is not as we write it: somebody changed it.
    """
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        damage = damage_in(answer.body, error, what)
        if damage is not None:
            raise damage from error
        raise Unavailable(f"Elasticsearch's answer to {what} cannot be read; it will be asked again") from error


class Connection:
    """Pooled connections to one cluster. Safe to use from many threads; the first call connects."""

    def __init__(self, options: ElasticsearchOptions) -> None:
        self.options = options
        nodes = _nodes(options)
        self._lines = Lines(nodes)
        self._transport = Transport(
            nodes,
            max_retries=0,
            retry_on_status=(),
            retry_on_timeout=False,
            serializers={JSON: _Verbatim(), NDJSON: _Verbatim()},
            meta_header=False,
        )

    @property
    def prefix(self) -> str:
        """What every name begins with."""
        return self.options.prefix

    def request(
        self,
        method: Method,
        target: str,
        body: bytes | None = None,
        *,
        what: str,
        allow: Collection[int] = (),
        content_type: str = JSON,
        timeout_s: float | None = None,
    ) -> Answer:
        """One call, tried once.

        Args:
            method: the HTTP method.
            target: path and query.
            body: the exact bytes, or None.
            what: the call in words, for messages; no event contents.
            allow: statuses besides 2xx that the caller handles.
            content_type: of the body.
            timeout_s: instead of the options' ``request_timeout_s``.

        Raises:
            Unavailable: no answer, an unreadable one, wrong credentials, too much load, or trouble over there.
            PipelineFault: Elasticsearch understood and refused: something of ours is set up wrongly.
        """
        headers = {"accept": JSON} if body is None else {"accept": JSON, "content-type": content_type}
        with _translated(what):
            response = self._transport.perform_request(
                method,
                target,
                body=body,
                headers=headers,
                request_timeout=timeout_s or self.options.request_timeout_s,
            )
        return _settled(Answer(response.meta.status, response.body or b""), what, allow)

    def ask(self, target: str, body: bytes, *, what: str, allow: Collection[int], timeout_s: float) -> Answer:
        """A question that changes nothing, as JSON: as `request` with POST, at a fraction of its cost.

        Raises:
            Unavailable: as `request`.
            PipelineFault: as `request`.
        """
        try:
            status, found = self._lines.post(target, body, timeout_s)
        except OutOfTimeError as error:
            raise Unavailable(f"Elasticsearch did not answer {what} in time") from error
        except UnusableError:
            return self.request("POST", target, body, what=what, allow=allow, timeout_s=timeout_s)
        return _settled(Answer(status, found), what, allow)

    def close(self) -> None:
        """Close the pool's connections."""
        self._lines.close()
        self._transport.close()


def _settled(answer: Answer, what: str, allow: Collection[int]) -> Answer:
    """The answer, where its status is one that the caller handles."""
    if not answer.ok and answer.status not in allow:
        raise _trouble(answer, what)
    return answer


def _nodes(options: ElasticsearchOptions) -> list[NodeConfig]:
    headers = {}
    if options.api_key is not None:
        headers["authorization"] = f"ApiKey {options.api_key}"
    elif options.username is not None:
        pair = f"{options.username}:{options.password or ''}".encode()
        headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return [
        NodeConfig(
            scheme="https" if options.tls else "http",
            host=host,
            port=port,
            headers=headers,
            connections_per_node=options.connections,
            ca_certs=options.ca_certs,
        )
        for host, port in options.hosts
    ]


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        # The original text may hold a proxy's page or a URL; its class says enough.
        raise Unavailable(f"Elasticsearch did not answer {what} ({type(error).__name__})") from error


def _trouble(answer: Answer, what: str) -> Unavailable | PipelineFault:
    kind = error_type(answer.body)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        detail = (
            f"Elasticsearch refuses our credentials for {what} (401 {kind}): check user and password or API key"
        )
        return Unavailable(detail, retry_after_s=_CREDENTIALS_RETRY_S)
    if answer.status == HTTPStatus.FORBIDDEN and kind != "cluster_block_exception":
        detail = f"Elasticsearch denies us {what} (403 {kind}): {missing_right(error_reason(answer.body))}"
        return Unavailable(detail, retry_after_s=_CREDENTIALS_RETRY_S)
    if answer.status in _RETRYABLE or answer.status >= _SERVER_ERROR:
        return Unavailable(f"Elasticsearch cannot serve {what} now ({answer.status} {kind})")
    return PipelineFault(
        f"Elasticsearch refused {what} ({answer.status} {kind}): check names, template and version"
    )
