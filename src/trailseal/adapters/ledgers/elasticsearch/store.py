"""Documents by id, each change a compare-and-set on Elasticsearch's sequence number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from trailseal.adapters.elasticsearch.connection import Answer, Connection, decoded, error_type
from trailseal.adapters.ledgers.elasticsearch.layout import ledger_alias
from trailseal.errors import Fenced, PipelineFault, Unavailable
from trailseal.ports.ledger import as_written

_T = TypeVar("_T")
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_READ: Final = "a read of the ledger"
_WRITE: Final = "a write to the ledger"


class StoredDocument(msgspec.Struct, frozen=True, gc=False):
    """A document's JSON and the token that guards its next change."""

    name: str
    source: bytes
    version: str

    def read(self, decoder: msgspec.json.Decoder[_T]) -> _T:
        """What it says.

        Raises:
            IntegrityViolation: somebody made something else of it.
        """
        return as_written(decoder, self.source, self.name)


class _Got(msgspec.Struct, frozen=True, gc=False):
    id: str = msgspec.field(name="_id")
    found: bool = False
    seq_no: int = msgspec.field(name="_seq_no", default=0)
    term: int = msgspec.field(name="_primary_term", default=0)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw())


class _GotMany(msgspec.Struct, frozen=True, gc=False):
    docs: list[_Got]


class _Written(msgspec.Struct, frozen=True, gc=False):
    seq_no: int = msgspec.field(name="_seq_no")
    term: int = msgspec.field(name="_primary_term")


_GOT: Final = msgspec.json.Decoder(_Got)
_GOT_MANY: Final = msgspec.json.Decoder(_GotMany)
_WRITTEN: Final = msgspec.json.Decoder(_Written)


def version_text(seq_no: int, term: int) -> str:
    """The token of a stored state: sequence number and primary term."""
    return f"{seq_no}.{term}"


class DocumentStore:
    """One part of the ledger. Reads by id are realtime: they see every acknowledged write."""

    def __init__(self, connection: Connection, part: str, *, searchable_at_once: bool = False) -> None:
        self.alias = ledger_alias(connection.prefix, part)
        self._connection = connection
        self._refresh = "&refresh=true" if searchable_at_once else ""

    def get(self, name: str) -> StoredDocument | None:
        """The document, or None."""
        answer = self._connection.request("GET", self._target("_doc", name), what=_READ, allow={_NOT_FOUND})
        if not answer.ok:
            self._must_exist(answer)
            return None
        got = decoded(_GOT, answer, _READ)
        return StoredDocument(name, bytes(got.source), version_text(got.seq_no, got.term))

    def get_many(self, names: Sequence[str]) -> dict[str, StoredDocument]:
        """Those of the documents that exist, by id."""
        if not names:
            return {}
        body = msgspec.json.encode({"ids": names})
        answer = self._connection.request("POST", f"/{self.alias}/_mget", body, what=_READ, allow={_NOT_FOUND})
        if not answer.ok:
            self._must_exist(answer)
        got = decoded(_GOT_MANY, answer, _READ).docs
        if len(got) != len(names):
            raise Unavailable("Elasticsearch answered for another number of ledger documents than asked; try again")
        return {
            one.id: StoredDocument(one.id, bytes(one.source), version_text(one.seq_no, one.term))
            for one in got
            if one.found
        }

    def _must_exist(self, answer: Answer) -> None:
        if error_type(answer.body) == "index_not_found_exception":
            raise PipelineFault(
                f"the ledger's {self.alias} is missing: run `trailseal setup`, or restore a snapshot"
            )

    def create(self, name: str, body: bytes) -> str:
        """Write a document that must not exist yet; its version.

        Raises:
            Fenced: it exists.
        """
        target = f"{self._target('_create', name)}?require_alias=true{self._refresh}"
        return self._write(
            self._connection.request("PUT", target, body, what=_WRITE, allow={_CONFLICT, _NOT_FOUND})
        )

    def replace(self, name: str, body: bytes, version: str) -> str:
        """Write over exactly that version; the new one.

        Raises:
            Fenced: another version is stored, or none.
        """
        target = f"{self._target('_doc', name)}?require_alias=true&{_expected(version)}{self._refresh}"
        return self._write(
            self._connection.request("PUT", target, body, what=_WRITE, allow={_CONFLICT, _NOT_FOUND})
        )

    def _write(self, answer: Answer) -> str:
        if answer.status == _CONFLICT:
            raise Fenced("another process changed this part of the ledger first")
        if not answer.ok:
            self._must_exist(answer)
            raise PipelineFault(
                f"Elasticsearch refused {_WRITE} ({error_type(answer.body)}): run `trailseal setup`"
            )
        written = decoded(_WRITTEN, answer, _WRITE)
        return version_text(written.seq_no, written.term)

    def delete(self, name: str, version: str | None = None) -> None:
        """Delete exactly that version (None: whatever is there); nothing happens where nothing is.

        Raises:
            Fenced: another version is stored.
        """
        if version is not None and not _is_version(version):
            if self.get(name) is not None:
                raise _unknown_version()
            return
        guard = "" if version is None else f"&{_expected(version)}"
        target = f"{self._target('_doc', name)}?{guard}{self._refresh}".replace("?&", "?").rstrip("?")
        answer = self._connection.request("DELETE", target, what=_WRITE, allow={_CONFLICT, _NOT_FOUND})
        # A compare-and-set on nothing is a conflict too.
        if answer.status == _CONFLICT and self.get(name) is not None:
            raise Fenced("another process changed this part of the ledger first")

    def _target(self, action: str, name: str) -> str:
        return f"/{self.alias}/{action}/{quote(name, safe='')}"


def _is_version(text: str) -> bool:
    seq_no, dot, term = text.partition(".")
    return bool(dot) and seq_no.isdecimal() and term.isdecimal()


def _unknown_version() -> Fenced:
    return Fenced("the expected version is none that this ledger gave out")


def _expected(version: str) -> str:
    if not _is_version(version):
        raise _unknown_version()
    seq_no, _, term = version.partition(".")
    return f"if_seq_no={seq_no}&if_primary_term={term}"
