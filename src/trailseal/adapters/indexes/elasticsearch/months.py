"""The register of months: which exist, which were dropped, which index is behind each.

It lives in small documents with compare-and-set (the ledger's), because only a register can tell a month that
was never made from one that retention dropped and from one that went missing. Names: ``index/months/2026.11``
for each month, ``index/rebuild`` while a rebuild runs, ``index/reprojections/2026.11`` while a month is made anew.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Literal, Protocol

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded, error_type
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.errors import Fenced, PipelineFault
from trailseal.model.projection import PROJECTION_VERSION
from trailseal.ports.ledger import Document

REGISTER_TTL_S: Final = 0.5
"""How long another process's new month may go unnoticed by searches."""

_PREFIX: Final = "index/"
_MONTHS: Final = "index/months/"
_REBUILD: Final = "index/rebuild"
REPROJECTIONS: Final = "index/reprojections/"
_CREATE_STATUSES: Final = frozenset({400})


class Documents(Protocol):
    """Small named documents with compare-and-set, as every ledger has them."""

    def document(self, name: str) -> Document | None:
        """The named document, or None."""

    def documents(self, prefix: str) -> dict[str, Document]:
        """All documents whose name begins so."""

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        """Write if the stored version is the expected one."""

    def delete_document(self, name: str, expected: str) -> None:
        """Delete if the stored version is the expected one."""


class Month(msgspec.Struct, frozen=True, omit_defaults=True):
    """One month in the register.

    Attributes:
        state: ``dropped`` once retention removed it; it is never made again.
        index: the concrete index behind the alias.
        retired: concrete indices that were replaced; without an alias, kept until an operator deletes them.
        projection: the oldest `PROJECTION_VERSION` that any of its documents may have been written by.
    """

    state: Literal["open", "dropped"]
    index: str
    retired: tuple[str, ...] = ()
    projection: int = 1


class Register(msgspec.Struct, frozen=True):
    """The register at one moment."""

    months: dict[str, Month]
    rebuilding: bool
    reprojecting: frozenset[str] = frozenset()

    @property
    def open_months(self) -> list[str]:
        """Months that have documents, oldest first."""
        return sorted(month for month, entry in self.months.items() if entry.state == "open")


class _Target(msgspec.Struct, frozen=True):
    target: str


class _Aliases(msgspec.Struct, frozen=True):
    aliases: dict[str, msgspec.Raw] = {}


_ALIASES: Final = msgspec.json.Decoder(dict[str, _Aliases])
_MAPPINGS: Final = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])


class Months:
    """The register and the indices it speaks of. Safe to use from many threads."""

    def __init__(self, connection: Connection, documents: Documents) -> None:
        self._connection = connection
        self._documents = documents
        self._lock = threading.Lock()
        self._register: Register | None = None
        self._read_at = 0.0

    def register(self, *, fresh: bool = False) -> Register:
        """The register, at most `REGISTER_TTL_S` old; read anew where ``fresh``."""
        with self._lock:
            if fresh or self._register is None or time.monotonic() - self._read_at > REGISTER_TTL_S:
                read_at = time.monotonic()
                self._register = self._read()
                self._read_at = read_at
            return self._register

    def _read(self) -> Register:
        stored = self._documents.documents(_PREFIX)
        months = {
            name.removeprefix(_MONTHS): document.read(Month, name)
            for name, document in stored.items()
            if name.startswith(_MONTHS)
        }
        reprojecting = {name.removeprefix(REPROJECTIONS) for name in stored if name.startswith(REPROJECTIONS)}
        return Register(months, _REBUILD in stored, frozenset(reprojecting))

    def known(self, month: str) -> Month | None:
        """The month as last read, however old: for the writer, whom Elasticsearch itself corrects."""
        register = self._register
        return None if register is None else register.months.get(month)

    def ensure(self, month: str) -> Month:
        """The month's entry; one that is not registered is created and registered.

        Raises:
            PipelineFault: the template is missing or not ours, or something else has the alias's name.
            Unavailable: it cannot be done now.
        """
        entry = self.known(month) or self.register(fresh=True).months.get(month)
        if entry is not None:
            return entry
        index = mapping.index_name(self._connection.prefix, month, 1)
        self.create_index(index, mapping.alias_name(self._connection.prefix, month))
        try:
            body = msgspec.json.encode(Month("open", index, projection=PROJECTION_VERSION))
            self._documents.put_document(f"{_MONTHS}{month}", body, None)
        except Fenced:
            # Another writer registered it between our look and our word; what it wrote holds.
            pass
        return self.register(fresh=True).months[month]

    def create_index(self, index: str, alias: str | None) -> None:
        """Make the index, with its alias in the same step; one that exists is as good, if it is ours.

        Raises:
            PipelineFault: the template is missing or not ours, or the index is something else's.
            Unavailable: it cannot be done now.
        """
        self._check_template()
        body = {"aliases": {alias: {"is_write_index": True}}} if alias is not None else {}
        answer = self._connection.request(
            "PUT", f"/{index}", msgspec.json.encode(body), what=f"creating {index}", allow=_CREATE_STATUSES
        )
        kind = "created" if answer.ok else error_type(answer.body)
        if kind not in {"created", "resource_already_exists_exception"}:
            raise PipelineFault(
                f"the month index {index} cannot be created ({kind}): run `trailseal setup` and look"
            )
        self.check_mapping(alias or index)

    def _check_template(self) -> None:
        name = mapping.template_name(self._connection.prefix)
        answer = self._connection.request(
            "GET", f"/_index_template/{name}?filter_path=index_templates.name", what="the template", allow={404}
        )
        if not answer.ok:
            raise PipelineFault(f"the index template {name} is missing: run `trailseal setup`, then start again")

    def check_mapping(self, name: str) -> None:
        """Make sure that every index behind the name has our mapping.

        Raises:
            PipelineFault: it is missing, or somebody changed it.
        """
        answer = self._connection.request("GET", f"/{name}/_mapping", what=f"the mapping of {name}", allow={404})
        if not answer.ok:
            raise PipelineFault(
                f"the month {name} is registered but missing from the cluster: restore it from a snapshot, "
                "or rebuild the index from the log, then start again"
            )
        for index, found in decoded(_MAPPINGS, answer, "the mapping").items():
            if msgspec.json.decode(found["mappings"]) != mapping.MAPPING:
                raise PipelineFault(
                    f"the mapping of {index} is not layout {mapping.LAYOUT_VERSION}: it was made without our "
                    "template or changed since; run `trailseal reproject`, then start again"
                )

    def begin_rebuild(self) -> None:
        """Mark the rebuild, then put a fresh, empty index behind every open month's alias.

        Nothing is deleted: the indices so far stay without an alias, named in the register, because past the
        log's retention they are the only copy.
        """
        if self._documents.document(_REBUILD) is None:
            self._put_unless_there(_REBUILD, b"{}")
        for name, stored in self._documents.documents(REPROJECTIONS).items():
            self._abandon(name.removeprefix(REPROJECTIONS), stored.read(_Target, name).target)
            self._documents.delete_document(name, stored.version)
        for month in self.register(fresh=True).open_months:
            self._renew(month)
        self.register(fresh=True)

    def _abandon(self, month: str, target: str) -> None:
        """End a re-projection that was interrupted: what it made would pass for the empty index of the rebuild."""
        if self.behind(month) == target:
            self.replace_index(month, target)
        else:
            self.delete_index(target)

    def _put_unless_there(self, name: str, body: bytes) -> None:
        try:
            self._documents.put_document(name, body, None)
        except Fenced:
            # Somebody else began the same rebuild; one marker is enough.
            return

    def _renew(self, month: str) -> None:
        entry = self.register(fresh=True).months[month]
        index = self.next_index(month, entry)
        self.create_index(index, None)
        self.move_alias(month, index)
        self.replace_index(month, index)

    def next_index(self, month: str, entry: Month) -> str:
        """The name of the index that would replace the month's; nobody else makes one of that name meanwhile."""
        return mapping.index_name(self._connection.prefix, month, mapping.generation_of(entry.index) + 1)

    def behind(self, month: str) -> str | None:
        """The concrete index that the month's alias names, or None where there is no such alias."""
        alias = mapping.alias_name(self._connection.prefix, month)
        answer = self._connection.request("GET", f"/_alias/{alias}", what=f"the alias {alias}", allow={404})
        return next(iter(decoded(_ALIASES, answer, f"the alias {alias}").keys()), None) if answer.ok else None

    def move_alias(self, month: str, index: str) -> None:
        """Let the month's alias name this index and nothing else, in one step."""
        alias = mapping.alias_name(self._connection.prefix, month)
        actions: list[dict[str, dict[str, object]]] = [
            {"add": {"index": index, "alias": alias, "is_write_index": True}}
        ]
        if self.behind(month) not in {None, index}:
            actions.insert(0, {"remove": {"index": "*", "alias": alias, "must_exist": False}})
        body = msgspec.json.encode({"actions": actions})
        self._connection.request("POST", "/_aliases", body, what=f"moving the alias {alias}")

    def replace_index(self, month: str, index: str) -> None:
        """Register the index as the month's, written by today's projection; the one so far becomes a retired one.

        Raises:
            Fenced: somebody else changed the month's entry meanwhile.
        """
        name = f"{_MONTHS}{month}"
        stored = self._documents.document(name)
        if stored is None:
            raise Fenced(f"the month {month} is not in the register any more")
        entry = stored.read(Month, name)
        if entry.index != index:
            renewed = Month("open", index, (*entry.retired, entry.index), PROJECTION_VERSION)
            self._documents.put_document(name, msgspec.json.encode(renewed), stored.version)
        self.register(fresh=True)

    def drop(self, month: str) -> None:
        """Register the month as dropped, for good; its indices are the caller's to delete.

        Raises:
            Fenced: somebody else changed the month's entry meanwhile.
        """
        name = f"{_MONTHS}{month}"
        stored = self._documents.document(name)
        if stored is not None:
            entry = stored.read(Month, name)
            if entry.state == "open":
                dropped = Month("dropped", entry.index, projection=entry.projection)
                self._documents.put_document(name, msgspec.json.encode(dropped), stored.version)
        self.register(fresh=True)

    def delete_index(self, index: str) -> None:
        """Delete an index that has no alias; nothing happens where it is gone.

        Raises:
            PipelineFault: it has an alias, so it may hold what is nowhere else.
        """
        what = f"deleting {index}"
        answer = self._connection.request("GET", f"/{index}/_alias", what=what, allow={404})
        if not answer.ok:
            return
        if any(found.aliases for found in decoded(_ALIASES, answer, what).values()):
            raise PipelineFault(f"the index {index} is in use; it is not deleted")
        self._connection.request("DELETE", f"/{index}", what=what, allow={404})

    def mark_complete(self) -> None:
        """Take the mark of the rebuild away."""
        stored = self._documents.document(_REBUILD)
        if stored is not None:
            self._documents.delete_document(_REBUILD, stored.version)
        self.register(fresh=True)
