"""Small files that a crash leaves either as they were or as they were to be."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes, *, create: bool = False) -> None:
    """Replace a file's contents, mode 0600, on the disk when this returns.

    Args:
        path: the file.
        data: what it holds from now on.
        create: it must not exist yet.

    Raises:
        FileExistsError: it does.
        OSError: it cannot be written; nothing has changed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if create:
            os.link(temporary, path)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
