"""The embedded system as `up` and `import` open it: SQLite log and ledger, tantivy, the memory cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from trailseal.bootstrap import Engines, Role, open_engines
from trailseal.event_consumer.books import reconcile
from trailseal.event_consumer.import_results import ImportResult
from trailseal.event_consumer.import_sources import find_sources
from trailseal.event_consumer.importing import Importer, ImportProgress
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.runner import Consumer
from trailseal.settings import Settings

REFRESH_S = 0.2


@contextmanager
def opened(data: Path, role: Role = "up", index: str = "") -> Iterator[Engines]:
    """The engines of a data folder, the index elsewhere where a URL says so."""
    engines = open_engines(Settings(data=data, refresh_interval=REFRESH_S, index=index), role)
    try:
        yield engines
    finally:
        engines.close()


def consumer_of(engines: Engines, **options: object) -> Consumer:
    """The pipeline of these engines, not running yet."""
    return Consumer(
        engines.log,
        engines.index,
        engines.ledger,
        engines.cache,
        engines.clock,
        options=ConsumerOptions(**options),  # type: ignore[arg-type] # tests give what the options take
    )


def import_into(
    engines: Engines,
    paths: Sequence[Path | str],
    *,
    stdin: bytes = b"",
    tenant: str | None = None,
    format_name: str | None = None,
    told: list[ImportProgress] | None = None,
) -> ImportResult:
    """Import as the command does."""
    importer = Importer(
        engines.log,
        engines.ledger,
        consumer_of(engines),
        engines.clock,
        tenant=tenant,
        format_name=format_name,
        progress=None if told is None else told.append,
    )
    return importer.run(find_sources([str(path) for path in paths], BytesIO(stdin)).sources)


def assert_balanced(engines: Engines) -> None:
    """The books balance, and nothing else was found."""
    result = reconcile(engines.log, engines.index, engines.ledger)
    assert result.balanced, [str(finding) for finding in result.findings]


def offsets(engines: Engines) -> list[int]:
    """Every offset with a document."""
    engines.index.refresh()
    number = engines.ledger.log_number(engines.log.origin)
    assert number is not None
    return engines.index.offsets(number, 0, 0, 2**62)
