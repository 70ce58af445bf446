"""What lies in the data folder beside the engines: the secret that signs cursors, the seal key, the locks."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from trailseal.adapters import locks
from trailseal.bootstrap.profiles import profile
from trailseal.errors import SettingsError
from trailseal.settings import Settings


def make_folder(folder: Path) -> None:
    """Make the data folder if need be, for its owner only.

    Raises:
        SettingsError: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"The data folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(f"The data folder {folder} cannot be written to; change its owner or use --data.")


def lock_server(settings: Settings) -> locks.FileLock:
    """Take the data folder for one `trailseal up`, until the lock is released or the process dies.

    Raises:
        UsageError: another `trailseal up` runs on it.
        SettingsError: the folder cannot be made or written.
    """
    make_folder(settings.data)
    return locks.lock_server(settings.data)


def key_path(settings: Settings) -> Path:
    """The file with the keys that sign checkpoints."""
    return settings.seal_key_file or settings.data / "seal.key"


def cursor_secret(settings: Settings, *, read_only: bool) -> bytes:
    """The secret that signs cursors; made at the first start of the embedded profile, mode 0600."""
    path = settings.secret_file or settings.data / "secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if read_only:
            return secrets.token_bytes(32)
        if settings.secret_file or profile(settings) == "cluster":
            raise SettingsError(
                f"The secret file {path} does not exist: run `trailseal setup`, or copy it from another API host."
            ) from None
    except OSError as error:
        raise SettingsError(f"The secret file {path} cannot be read: {error.strerror}.") from error
    return make_secret(path)


def make_secret(path: Path) -> bytes:
    """The secret in that file, made by whoever comes first."""
    fresh = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(fresh)
    return fresh
