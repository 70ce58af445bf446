"""What the tantivy folder holds of an entry: terms to find it by, numbers to sort it by, its identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import tantivy

from trailseal.adapters.indexes.tantivy_index.buckets import bucket_terms
from trailseal.model.projection import Entry
from trailseal.model.record import Position

LAYOUT: Final = 1
"""Goes up whenever a folder written before could not be read any more; such a folder is rebuilt."""

BLOCK: Final = 4_096
"""Offsets that share a term, by which `offsets_in` finds them."""

COLUMNS: Final = ("tenant_id", "actor", "action", "outcome", "resource", "resource_type")
"""Text fields of which few values occur many times: kept as columns too, so that their prefixes are ranges."""

OPTIONAL: Final = ("resource", "resource_type", "request_id", "source_ip")
"""Fields an event may lack; the ones it has are terms of ``has``."""

_ALWAYS: Final = ("timestamp", "identity", "tenant_id", "id", "actor", "action", "outcome", "block")
"""Fields of which every document has one term."""

_PATH_END: Final = "\x1f"
PARTITION_BITS: Final = 32
_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


class Identity(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is stored with a document: enough to order it, and to compare it with another of the same id."""

    tenant_id: str
    id: str
    month: str
    document_id: str
    position: Position
    content_hash: bytes


read_identity = msgspec.msgpack.Decoder(Identity).decode


def build_schema() -> tantivy.Schema:
    """The fields; texts are exact terms (``raw``) or several of them without spaces (``whitespace``)."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("timestamp", fast=True, indexed=True)
    builder.add_unsigned_field("offset", fast=True)
    builder.add_unsigned_field("partition", fast=True)
    builder.add_unsigned_field("identity", indexed=True)
    for name in COLUMNS:
        builder.add_text_field(name, fast=True, tokenizer_name="raw", index_option="basic")
    for name in ("id", "request_id", "metadata", "has", "block"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("words", "bucket"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="basic")
    builder.add_ip_addr_field("source_ip", indexed=True, fast=True)
    builder.add_bytes_field("stored", stored=True)
    return builder.build()


def identity_number(month: str, document_id: str) -> int:
    """64 bits that stand for (month, document id); equal numbers are compared in full."""
    digest = blake2b(f"{month}\0{document_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def block_term(log: int, partition: int, offset: int) -> str:
    """The term of the `BLOCK` offsets around this one."""
    return f"{log}/{partition}/{offset // BLOCK}"


class _Document(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What tantivy reads: its fields by name. Bytes become Base64, as it wants them."""

    timestamp: int
    offset: int
    partition: int
    identity: int
    tenant_id: str
    id: str
    actor: str
    action: str
    outcome: str
    metadata: tuple[str, ...]
    words: str
    bucket: str
    block: str
    stored: bytes
    resource: str | None = None
    resource_type: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    has: list[str] = []


def identity_of(entry: Entry) -> Identity:
    """What is stored with the entry's document."""
    projection = entry.projection
    return Identity(
        projection.tenant_id,
        projection.id,
        entry.month,
        entry.document_id,
        projection.position,
        projection.content_hash,
    )


def terms_of(entry: Entry) -> Iterator[tuple[str, str | int]]:
    """Every term that the entry's document is found by, with its field, once each; columns are not among them."""
    projection = entry.projection
    position = projection.position
    yield "timestamp", projection.timestamp_us
    yield "identity", identity_number(entry.month, entry.document_id)
    yield "tenant_id", projection.tenant_id
    yield "id", projection.id
    yield "actor", projection.actor
    yield "action", projection.action
    yield "outcome", projection.outcome
    yield "block", block_term(position.log, position.partition, position.offset)
    optional = (projection.resource, projection.resource_type, projection.request_id, projection.source_ip)
    for name, text in zip(OPTIONAL, optional, strict=True):
        if text is not None:
            yield name, text
    for name in _present(projection.metadata, optional):
        yield "has", name
    for term in dict.fromkeys(projection.metadata):
        yield "metadata", term
    for term in bucket_terms(projection.timestamp_us).split(" "):
        yield "bucket", term
    for term in dict.fromkeys(projection.words.split(" ")):
        if term:
            yield "words", term


def counted(entries: Sequence[Entry]) -> Counter[str]:
    """How many terms of each field `terms_of` gives for these entries, at a fraction of its cost."""
    count = Counter(dict.fromkeys(_ALWAYS, len(entries)))
    for entry in entries:
        projection = entry.projection
        optional = (projection.resource, projection.resource_type, projection.request_id, projection.source_ip)
        for name, text in zip(OPTIONAL, optional, strict=True):
            if text is not None:
                count[name] += 1
        words = set(projection.words.split(" "))
        count["words"] += len(words) - ("" in words)
        count["bucket"] += bucket_terms(projection.timestamp_us).count(" ") + 1
        if projection.metadata:
            count["metadata"] += len(set(projection.metadata))
        count["has"] += len(_present(projection.metadata, optional))
    return count


def document(entry: Entry, number: int) -> str:
    """The entry as tantivy takes it: one JSON object."""
    projection = entry.projection
    position = projection.position
    identity = identity_of(entry)
    resource, resource_type = projection.resource, projection.resource_type
    source_ip, request_id = projection.source_ip, projection.request_id
    made = _Document(
        projection.timestamp_us,
        position.offset,
        position.log << PARTITION_BITS | position.partition,
        number,
        projection.tenant_id,
        projection.id,
        projection.actor,
        projection.action,
        projection.outcome,
        projection.metadata,
        projection.words,
        bucket_terms(projection.timestamp_us),
        block_term(position.log, position.partition, position.offset),
        _encode(identity),
        resource,
        resource_type,
        source_ip,
        request_id,
        _present(projection.metadata, (resource, resource_type, request_id, source_ip)),
    )
    return _encode_json(made).decode("utf-8")


def _present(metadata: Sequence[str], optional: tuple[str | None, ...]) -> list[str]:
    """The terms of ``has``: every path of the metadata, and the `OPTIONAL` fields that are there."""
    present = [*{term[: term.find(_PATH_END) + 1] for term in metadata}]
    for name, value in zip(OPTIONAL, optional, strict=True):
        if value is not None:
            present.append(name)
    return present
