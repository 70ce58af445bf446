"""The only place that knows adapters: settings in, engines out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from trailseal.adapters.clock import SystemClock
from trailseal.bootstrap.engines import Engines, Profile, Role
from trailseal.bootstrap.files import (
    EmbeddedFiles,
    begin_next_epoch,
    check_database,
    copy_database,
    embedded_files,
    settle_database,
)
from trailseal.bootstrap.folder import key_path, lock_server, make_folder
from trailseal.bootstrap.profiles import profile, urls
from trailseal.errors import SettingsError
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.ports.witness import Witness
from trailseal.settings import Settings

__all__ = [
    "EmbeddedFiles",
    "Engines",
    "Profile",
    "Role",
    "begin_next_epoch",
    "check_database",
    "copy_database",
    "embedded_files",
    "key_path",
    "lock_server",
    "open_engines",
    "open_ledger",
    "profile",
    "set_up",
    "settle_database",
    "witnesses",
]


def open_engines(settings: Settings, role: Role) -> Engines:
    """Open what the settings name.

    Raises:
        SettingsError: an unknown scheme, a mix of engines that cannot work, or a file that cannot be used.
        Unavailable: an engine does not answer.
    """
    if profile(settings, role) == "embedded":
        from trailseal.bootstrap.embedded import open_embedded  # noqa: PLC0415 - each profile loads its own clients

        return open_embedded(settings, urls(settings), role)
    from trailseal.bootstrap.cluster import open_cluster  # noqa: PLC0415 - the same

    return open_cluster(settings, urls(settings), role)


def set_up(settings: Settings) -> Iterator[str]:
    """Make what a cluster needs before its processes start; see `bootstrap.cluster.set_up_cluster`.

    Raises:
        SettingsError: the settings choose no cluster.
    """
    if profile(settings) != "cluster":
        raise SettingsError("There is nothing to set up: the embedded profile makes its files at the first start.")
    from trailseal.bootstrap.cluster import set_up_cluster  # noqa: PLC0415 - the same

    return set_up_cluster(settings)


def open_ledger(settings: Settings, *, writing: bool) -> tuple[Ledger, Clock]:
    """The ledger alone, for commands on its small documents, beside whatever runs.

    Raises:
        SettingsError: as `open_engines`.
        Unavailable: it does not answer, or, where nothing is to be written, was never made.
    """
    chosen = urls(settings)
    if profile(settings) == "cluster":
        from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger  # noqa: PLC0415 - as above
        from trailseal.bootstrap.links import elasticsearch_options  # noqa: PLC0415 - the same

        return ElasticsearchLedger(
            elasticsearch_options(settings, chosen.ledger), read_only=not writing
        ), SystemClock()
    from trailseal.adapters.ledgers.sqlite import SqliteLedger  # noqa: PLC0415 - as above

    if writing:
        make_folder(settings.data)
    return SqliteLedger(Path(urlsplit(chosen.ledger).path), read_only=not writing), SystemClock()


def witnesses(settings: Settings) -> tuple[Witness, ...]:
    """The witnesses that the settings name; nothing is asked yet.

    Raises:
        SettingsError: one of them is no URL and key.
    """
    from trailseal.adapters.witness import witnesses_from  # noqa: PLC0415 - only who signs asks them

    return witnesses_from(settings.witnesses)
