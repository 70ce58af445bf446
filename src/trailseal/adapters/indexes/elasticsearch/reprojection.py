"""Making a month anew from its own records, while it is written and searched.

The order: copy into a new index what is there; block writes to the old one, so that writers are told to come
again; copy the rest; compare the counts of every partition; move the alias; move the register. The old index stays
blocked: a write that was under way when the alias moved must not end in an index that nobody searches.

Copying follows the sequence numbers of each shard up to its global checkpoint, below which every operation is on
every copy and none will be taken back. A note in the register says how far it has come and whose turn it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkWriter, ItemResult
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.documents import index_line, remade
from trailseal.adapters.indexes.elasticsearch.months import REPROJECTIONS, Documents, Months
from trailseal.adapters.indexes.elasticsearch.stocktaking import checkpoints, counts, differences, refreshed
from trailseal.errors import Fenced, PipelineFault, Unavailable, UsageError
from trailseal.model.projection import PROJECTION_VERSION
from trailseal.ports.clock import Clock
from trailseal.ports.upkeep import Progress, Reproject, Reprojected

_PAGE_BYTES: Final = 8 << 20
_PAGE_MOST: Final = 500
_PAGE_FIRST: Final = 100
_LAST_ROUND: Final = 5_000
_ROUNDS: Final = 20
_NOTED_PAGES: Final = 20
_SETTLE_S: Final = 30.0
_SETTLE_STEP_S: Final = 0.1
_ATTEMPTS: Final = 60
_ATTEMPT_S: Final = 1.0
_DONE: Final = frozenset({200, 201})
_SERVER_ERROR: Final = 500
_TRANSIENT: Final = frozenset({401, 403, 408, 429})


class Note(msgspec.Struct, frozen=True):
    """How far a re-projection has come.

    Attributes:
        source: the index it copies from.
        target: the index it makes.
        projection: the `PROJECTION_VERSION` it makes documents by.
        turn: whose turn it is; another process takes it by writing its own.
        copied: the last sequence number that was copied, by shard of the source.
        unchanged: how many documents were carried over as they were.
        switching: the counts agreed and the source is blocked for good.
    """

    source: str
    target: str
    projection: int
    turn: str
    copied: dict[str, int] = {}
    unchanged: int = 0
    switching: bool = False


class _Hit(msgspec.Struct, frozen=True, gc=False):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")
    sort: tuple[int]


class _Hits(msgspec.Struct, frozen=True, gc=False):
    hits: list[_Hit] = []


class _Shards(msgspec.Struct, frozen=True, gc=False):
    total: int
    successful: int


class _Page(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits = _Hits()


_PAGE: Final = msgspec.json.Decoder(_Page)


class Reprojection:
    """One month's re-projection, from its beginning or from where an earlier process left it."""

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        connection: Connection,
        documents: Documents,
        months: Months,
        bulk: BulkWriter,
        month: str,
        project: Reproject,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._connection, self._documents, self._months, self._bulk = connection, documents, months, bulk
        self._month, self._project, self._progress, self._clock = month, project, progress, clock
        self._name = f"{REPROJECTIONS}{month}"
        self._page_size = _PAGE_FIRST
        self._done = 0
        self._total = 0
        self._note, self._version = self._take_turn()

    def run(self) -> Reprojected:
        """See `MonthUpkeep.reproject`."""
        note = self._note
        if self._months.behind(self._month) != note.target:
            if not note.switching:
                self._copy()
                self._close_in()
            self._months.move_alias(self._month, note.target)
        self._months.replace_index(self._month, note.target)
        self._documents.delete_document(self._name, self._version)
        documents = sum(counts(self._connection, note.target).documents.values())
        return Reprojected(self._month, note.target, note.source, documents, self._note.unchanged)

    def _take_turn(self) -> tuple[Note, str]:
        """The note as it is from now on, ours; a new one where there is none or it is for other rules.

        Raises:
            UsageError: the month cannot be re-projected.
        """
        register = self._months.register(fresh=True)
        entry = register.months.get(self._month)
        if entry is None or entry.state != "open":
            raise UsageError(
                f"The month {self._month} is not in the index; `trailseal months` lists those that are."
            )
        if register.rebuilding:
            raise UsageError("The index is being rebuilt from the log, by today's rules: nothing to re-project.")
        stored = self._documents.document(self._name)
        turn = secrets.token_hex(8)
        note = Note(entry.index, self._months.next_index(self._month, entry), PROJECTION_VERSION, turn)
        if stored is not None:
            known = stored.read(Note, self._name)
            if known.projection == PROJECTION_VERSION and mapping.is_current(known.target):
                note = msgspec.structs.replace(known, turn=turn)
            elif not known.switching:
                self._months.delete_index(known.target)
            else:
                raise UsageError(
                    f"The month {self._month} is being switched to a re-projection by another version of Trailseal:"
                    " finish it with that version first."
                )
        elif self._months.behind(self._month) is None:
            raise UsageError(
                f"The month {self._month} is registered but missing from the cluster: restore it from a snapshot,"
                " or run `trailseal rebuild`."
            )
        if not note.copied and not note.switching and self._months.behind(self._month) != note.target:
            self._months.delete_index(note.target)
        version = self._write(note, None if stored is None else stored.version)
        if not note.switching:
            self._months.create_index(note.target, None)
        return note, version

    def _write(self, note: Note, version: str | None) -> str:
        try:
            return self._documents.put_document(self._name, msgspec.json.encode(note), version)
        except Fenced as error:
            raise _not_our_turn(self._month) from error

    def _tell(self, note: Note) -> None:
        """Write down how far we are; ends here where another process has taken the turn."""
        self._version = self._write(note, self._version)
        self._note = note

    def _copy(self) -> None:
        """Copy until little is left; writers go on."""
        try:
            for _ in range(_ROUNDS):
                if self._copy_round("copying") < _LAST_ROUND:
                    return
        except PipelineFault:
            self._throw_away()
            raise

    def _close_in(self) -> None:
        """Block the old index, copy the rest and compare; the block goes again where that fails."""
        note = self._note
        self._tell(note)  # nobody blocks or unblocks an index that another process is about to give up
        what = f"blocking writes to {note.source}"
        self._connection.request("PUT", f"/{note.source}/_block/write", what=what)
        try:
            self._copy_round("copying the rest, writers wait")
            refreshed(self._connection, note.target)
            self._compare()
            self._tell(msgspec.structs.replace(self._note, switching=True))
        except UsageError:
            raise  # another process has the turn, and the block is its own
        except BaseException as error:
            self._give_up(error)
            raise

    def _compare(self) -> None:
        """Whether both indices hold the same number of documents of every partition."""
        note = self._note
        found = differences(counts(self._connection, note.source), counts(self._connection, note.target))
        if found:
            raise PipelineFault(
                f"The new index {note.target} does not hold what {note.source} holds ({found}): the old one stays"
                " in use. Look for other programs that write to these indices, then run it again."
            )

    def _give_up(self, error: BaseException) -> None:
        """Let writers go on in the old index; what was copied is thrown away where it was found wrong."""
        note = self._note
        with suppress(Unavailable, PipelineFault):
            body = msgspec.json.encode({"index": {"blocks": {"write": None}}})
            self._connection.request("PUT", f"/{note.source}/_settings", body, what="lifting the write block")
            if isinstance(error, PipelineFault):
                self._throw_away()

    def _throw_away(self) -> None:
        """Forget what was found wrong, so that the next run begins anew."""
        with suppress(Unavailable, PipelineFault, Fenced):
            self._months.delete_index(self._note.target)
            self._documents.delete_document(self._name, self._version)

    def _copy_round(self, step: str) -> int:
        """Copy everything up to the checkpoints of now; how many documents that were."""
        source = self._note.source
        before = self._done
        goals = self._settled_checkpoints() if "rest" in step else checkpoints(self._connection, source).shards
        refreshed(self._connection, source)
        self._total = checkpoints(self._connection, source).documents
        for shard, goal in goals.items():
            self._copy_shard(step, shard, goal)
        self._tell(self._note)
        return self._done - before

    def _settled_checkpoints(self) -> dict[str, int]:
        """The checkpoints of a blocked index, once they include every operation there ever was."""
        deadline = self._clock.monotonic() + _SETTLE_S
        while True:
            state = checkpoints(self._connection, self._note.source)
            if state.settled:
                return state.shards
            if self._clock.monotonic() > deadline:
                raise Unavailable(f"the copies of {self._note.source} do not come to rest; run it again")
            self._clock.wait(_SETTLE_STEP_S)

    def _copy_shard(self, step: str, shard: str, goal: int) -> None:
        last = self._note.copied.get(shard, -1)
        for number, page in enumerate(self._pages(shard, last, goal), 1):
            bodies = [remade(self._month, hit.id, bytes(hit.source), self._project) for hit in page]
            pairs = zip(page, bodies, strict=True)
            self._put([index_line(self._note.target, hit.id, body) for hit, (body, _) in pairs])
            self._done += len(page)
            copied = self._note.copied | {shard: page[-1].sort[0]}
            unchanged = self._note.unchanged + sum(not new for _, new in bodies)
            self._note = msgspec.structs.replace(self._note, copied=copied, unchanged=unchanged)
            if number % _NOTED_PAGES == 0:
                self._tell(self._note)
            self._progress(f"{self._month}: {step}", min(self._done, self._total), self._total)
        self._note = msgspec.structs.replace(self._note, copied=self._note.copied | {shard: max(last, goal)})

    def _pages(self, shard: str, last: int, goal: int) -> Iterator[list[_Hit]]:
        """The shard's documents in the order they were last written, in pages of bounded size."""
        target = (
            f"/{self._note.source}/_search?preference=_shards:{shard}&allow_partial_search_results=false"
            "&filter_path=timed_out,_shards.total,_shards.successful,hits.hits._id,hits.hits._source,hits.hits.sort"
        )
        while last < goal:
            size = self._page_size
            body = {
                "size": size,
                "query": {"range": {"_seq_no": {"gt": last, "lte": goal}}},
                "sort": [{"_seq_no": "asc"}],
                "track_total_hits": False,
            }
            answer = self._connection.request("POST", target, msgspec.json.encode(body), what="reading a month")
            page = decoded(_PAGE, answer, "reading a month")
            if page.timed_out or page.shards.successful < page.shards.total:
                raise Unavailable(f"{self._note.source} could not be read in full; run it again")
            if page.hits.hits:
                yield page.hits.hits
                last = page.hits.hits[-1].sort[0]
            if len(page.hits.hits) < size:
                return
            self._page_size = max(1, min(_PAGE_MOST, size * 2, size * _PAGE_BYTES // max(1, len(answer.body))))

    def _put(self, lines: list[bytes]) -> None:
        """Write the lines; those that cannot be taken now come again."""
        for attempt in range(_ATTEMPTS):
            results = self._bulk.send(lines)
            self._check(results)
            lines = [line for line, result in zip(lines, results, strict=True) if result.status not in _DONE]
            if not lines:
                return
            self._clock.wait(min(_ATTEMPT_S, 0.05 * 2**attempt))
        raise Unavailable(f"the new index {self._note.target} cannot be written now; run it again")

    def _check(self, results: list[ItemResult]) -> None:
        for result in results:
            final = result.status not in _DONE | _TRANSIENT and result.status < _SERVER_ERROR
            if final:
                raise PipelineFault(
                    f"Elasticsearch refuses a document of {self._note.source} in the new index"
                    f" ({result.status} {result.error_type}): the old one stays in use. Check the template with"
                    " `trailseal setup`."
                )


def _not_our_turn(month: str) -> UsageError:
    return UsageError(f"Another process re-projects {month} now; let it finish, or run this again to take over.")
