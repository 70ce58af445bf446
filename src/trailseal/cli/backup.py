"""`trailseal backup` and `trailseal restore`: the embedded profile's data in one folder, and back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trailseal import bootstrap
from trailseal.cli.options import Config, Data, settings_from
from trailseal.cli.output import notice, progress_bar
from trailseal.errors import UsageError
from trailseal.event_consumer.epochs import begin_epoch
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.model.timestamps import format_rfc3339
from trailseal.sealing.small_files import write_whole
from trailseal.settings import Settings
from trailseal.verification.backups import (
    KEY_FILE,
    LABEL,
    LEDGER_FILE,
    LOG_FILE,
    MANIFEST,
    BackupFile,
    Manifest,
    check_restored,
    describe,
    refuse_overtaken,
)
from trailseal.verification.trust import trust_from

_CHUNK = 1 << 20

Advance = Callable[[int, int], None]
"""Called with parts done so far and parts in all."""


def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that does not exist yet.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="The keys that sign checkpoints too: whoever has them can sign.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Copy log and ledger as of now, while `trailseal up` runs or not.

    DEST appears whole or not at all. It holds every event: keep it as safe as the data folder itself. The index is
    left out, since it is rebuilt from the log; keys only with --with-keys.
    """
    settings = settings_from(config, data=data)
    sources = bootstrap.embedded_files(settings)
    with _new_folder(target) as folder:
        with _progress() as step:
            # The ledger first: all that its heads say is in the log that is copied after it.
            bootstrap.copy_database(sources.ledger, folder / LEDGER_FILE, step(LEDGER_FILE))
            bootstrap.copy_database(sources.log, folder / LOG_FILE, step(LOG_FILE))
            if with_keys:
                _copy_key(bootstrap.key_path(settings), folder / KEY_FILE)
            manifest = _manifest(_inside(settings, folder), step)
        write_whole(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    size = sum(file.size for file in manifest.files)
    notice(f"{manifest.end:,} records and their books are in {target} ({size / 1e6:,.1f} MB).")


def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `trailseal backup` made.")],
    goes_on: Annotated[
        bool,
        typer.Option("--continue", help="The same log goes on: only where nothing was appended after the backup."),
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Of the new epoch; default: restored, and from which backup.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="Kept elsewhere; --continue has to reach it."),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Put a backup into an empty data folder.

    The files are held against their manifest, the books against the log, the trees against what was signed. The
    restored records begin a new epoch: they get new positions, so that none is given out twice, whatever the old
    log took in after the backup. Nothing appears under the data folder's name unless all of it is right.
    """
    settings = settings_from(config, data=data)
    if settings.log or settings.ledger:
        raise UsageError("A backup is restored into a data folder: leave the settings log and ledger out.")
    if goes_on and reason is not None:
        raise UsageError("--reason is told where a new epoch begins; with --continue none does.")
    manifest = _read_manifest(source)
    kept = trust_from((), (), 0, [(str(path), _bytes(path)) for path in checkpoint or ()]).kept
    with _new_folder(settings.data) as folder:
        inside = _inside(settings, folder)
        with _progress() as step:
            for file in manifest.files:
                _copy_checked(source / file.name, folder / file.name, file, step(file.name))
            _check(inside, manifest, step, goes_on=goes_on, kept=kept)
        if not goes_on and manifest.partitions:
            _begin_epoch(inside, reason or f"restored from the backup of {manifest.made_at}")
        for name in (LEDGER_FILE, LOG_FILE):
            bootstrap.settle_database(folder / name)
        shutil.rmtree(folder / "index", ignore_errors=True)
    how = "goes on" if goes_on else "begins a new epoch"
    notice(f"{manifest.end:,} records are in {settings.data}; the log {how}. `trailseal up` builds the index.")
    if KEY_FILE not in {file.name for file in manifest.files}:
        notice("The backup has no keys: put the key file in place, or auditors have to learn the one that is made.")


def _inside(settings: Settings, folder: Path) -> Settings:
    """The same settings for a folder that holds everything itself."""
    paths = {"log": "", "ledger": "", "index": "", "secret_file": None, "data": folder}
    return settings.model_copy(update=paths)


def _manifest(inside: Settings, step: Callable[[str], Advance]) -> Manifest:
    folder = inside.data
    engines = bootstrap.open_engines(inside, "read")
    try:
        partitions = describe(engines.ledger)
        origin, end = engines.log.origin, engines.log.bounds(0).next
        made_at = format_rfc3339(engines.clock.now_us())
    finally:
        engines.close()
    for name in (LEDGER_FILE, LOG_FILE):
        bootstrap.settle_database(folder / name)
    names = [name for name in (LEDGER_FILE, LOG_FILE, KEY_FILE) if (folder / name).exists()]
    files = tuple(_described(folder / name, step(f"{name}, hash")) for name in names)
    return Manifest(LABEL, made_at, version("trailseal"), origin, end, partitions, files)


def _described(path: Path, advance: Advance) -> BackupFile:
    size = path.stat().st_size
    digest = sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            advance(done, size)
    return BackupFile(path.name, size, digest.hexdigest())


def _read_manifest(source: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise UsageError(f"{source} is no backup: {MANIFEST} cannot be read ({error.strerror}).") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{source / MANIFEST} is no manifest of a backup: {error}.") from error
    names = sorted(file.name for file in manifest.files)
    known = {(LEDGER_FILE, LOG_FILE), (LEDGER_FILE, LOG_FILE, KEY_FILE)}
    if manifest.label != LABEL or tuple(names) not in {tuple(sorted(some)) for some in known}:
        raise UsageError(f"{source / MANIFEST} is of another version of Trailseal ({manifest.label}).")
    return manifest


def _copy_checked(source: Path, target: Path, file: BackupFile, advance: Advance) -> None:
    digest = sha256()
    done = 0
    try:
        with source.open("rb") as reading, open(target, "xb", opener=_private) as writing:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                writing.write(chunk)
                done += len(chunk)
                advance(done, file.size)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as error:
        raise UsageError(f"{source} cannot be copied to {target}: {error.strerror}.") from error
    if (done, digest.hexdigest()) != (file.size, file.sha256):
        raise UsageError(f"{source} is not the file that the manifest speaks of (its hash differs): take another.")


def _copy_key(source: Path, target: Path) -> None:
    write_whole(target, _bytes(source), create=True)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _check(
    inside: Settings,
    manifest: Manifest,
    step: Callable[[str], Advance],
    *,
    goes_on: bool,
    kept: Sequence[Checkpoint],
) -> None:
    for name in (LEDGER_FILE, LOG_FILE):
        bootstrap.check_database(inside.data / name)
    engines = bootstrap.open_engines(inside, "read")
    try:
        check_restored(engines.log, engines.ledger, manifest, step("records against seals"))
        if goes_on:
            refuse_overtaken(engines.log, engines.ledger, bootstrap.witnesses(inside), kept)
    finally:
        engines.close()


def _begin_epoch(inside: Settings, reason: str) -> None:
    bootstrap.begin_next_epoch(inside.data / LOG_FILE)
    engines = bootstrap.open_engines(inside, "import")
    try:
        begin_epoch(engines.log, engines.ledger, engines.clock, reason)
    finally:
        engines.close()


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder, mode 0700, that gets its name once the block is through; nothing is left of it otherwise.

    Raises:
        UsageError: there is something under the name, or it cannot be made.
    """
    path = path.absolute()
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not empty: name a folder that does not exist yet.")
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}.") from error
    try:
        yield folder
        _sync(folder)
        folder.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _progress() -> Iterator[Callable[[str], Advance]]:
    """Makes a bar for each step, by its name."""
    with progress_bar(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    ) as bar:

        def step(name: str) -> Advance:
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield step
