"""The keys that sign checkpoints: one small text file, readable by its owner only.

A line a key: ``signing <when made> <seed>`` or ``retired <when made> <public key>``, in hexadecimal. All signing
keys sign, so that an auditor who knows either the old or the new one can check every checkpoint of an overlap.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from trailseal.errors import SettingsError, UsageError
from trailseal.merkle.errors import InvalidNote
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.merkle.signing import SEED_SIZE, SeedSigner
from trailseal.sealing.small_files import write_whole

_LABEL: Final = "trailseal-seal-keys/1"


class SealKey(msgspec.Struct, frozen=True):
    """One key of the file.

    Attributes:
        state: ``signing``, or ``retired``: known, but no longer signing.
        made: when it was made, RFC 3339.
        secret: the seed; None of a retired key.
        public_key: 32 bytes.
    """

    state: Literal["signing", "retired"]
    made: str
    public_key: bytes
    secret: bytes | None = None

    def verifier(self, origin: str) -> VerifierKey:
        """The public side under a log's name."""
        return VerifierKey(origin, Algorithm.ED25519, self.public_key)


class KeyRing(msgspec.Struct, frozen=True):
    """The keys of a file, the oldest first."""

    keys: tuple[SealKey, ...]

    def signers(self, origin: str) -> tuple[SeedSigner, ...]:
        """Everything that signs checkpoints of that log, the oldest key first."""
        seeds = [key.secret for key in self.keys if key.secret is not None]
        return tuple(SeedSigner(origin, Algorithm.ED25519, seed) for seed in seeds)

    def verifiers(self, origin: str) -> tuple[VerifierKey, ...]:
        """Every public key, retired ones too."""
        return tuple(key.verifier(origin) for key in self.keys)


class KeyFile:
    """The file; a change of it is seen at the next use, so that a rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._ring = KeyRing(())

    def ring(self) -> KeyRing:
        """The keys in it.

        Raises:
            SettingsError: it is missing, unreadable, malformed, or others may read it.
        """
        with _translated(self.path):
            found = self.path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return self._ring
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingsError(
                    f"The key file {self.path} can be read by others: make it yours alone with `chmod 600`, and"
                    " rotate the key if somebody may have seen it."
                )
            ring = _parse(self.path, self.path.read_text("utf-8"))
        self._seen, self._ring = seen, ring
        return ring

    def make(self, now: str) -> KeyRing:
        """Create the file with one fresh key; with a file there already, its keys.

        Args:
            now: the time, RFC 3339.
        """
        if not self.path.exists():
            with suppress(FileExistsError):
                self._write(KeyRing((_fresh(now),)), create=True)
        return self.ring()

    def rotate(self, now: str) -> KeyRing:
        """Add a fresh signing key beside those that sign.

        Raises:
            UsageError: two sign already: the overlap before has not ended.
        """
        ring = self.ring()
        if sum(key.secret is not None for key in ring.keys) > 1:
            raise UsageError(
                "Two keys sign already. End that overlap first with `trailseal keys rotate --finish`, when every"
                " auditor knows the new key."
            )
        self._write(KeyRing((*ring.keys, _fresh(now))))
        return self.ring()

    def finish(self) -> KeyRing:
        """End an overlap: only the newest key signs on, the others' secrets are gone.

        Raises:
            UsageError: only one key signs.
        """
        ring = self.ring()
        signing = [key for key in ring.keys if key.secret is not None]
        if len(signing) < 2:  # noqa: PLR2004 - an overlap is of two
            raise UsageError("Only one key signs: there is no overlap to end. `trailseal keys rotate` begins one.")
        kept = tuple(
            key if key is signing[-1] else SealKey("retired", key.made, key.public_key) for key in ring.keys
        )
        self._write(KeyRing(kept))
        return self.ring()

    def _write(self, ring: KeyRing, *, create: bool = False) -> None:
        lines = [_LABEL, *(f"{key.state} {key.made} {(key.secret or key.public_key).hex()}" for key in ring.keys)]
        with _translated(self.path):
            write_whole(self.path, "\n".join([*lines, ""]).encode(), create=create)


def _fresh(now: str) -> SealKey:
    seed = secrets.token_bytes(SEED_SIZE)
    return SealKey("signing", now, SeedSigner("key", Algorithm.ED25519, seed).key.public_key, seed)


def _parse(path: Path, text: str) -> KeyRing:
    label, *lines = text.splitlines() or [""]
    keys = tuple(_key(path, line) for line in lines)
    if label != _LABEL or not any(key.secret for key in keys):
        raise SettingsError(f"{path} is not a file of seal keys, or none of its keys signs.")
    return KeyRing(keys)


def _key(path: Path, line: str) -> SealKey:
    try:
        state, made, digits = line.split(" ")
        data = bytes.fromhex(digits)
        if state == "signing":
            return SealKey("signing", made, SeedSigner("key", Algorithm.ED25519, data).key.public_key, data)
        if state == "retired" and len(data) == SEED_SIZE:
            return SealKey("retired", made, data)
    except (ValueError, InvalidNote):
        pass
    raise SettingsError(f"The key file {path} has a line that is no key; restore the file from its copy.")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        raise SettingsError(f"There is no key file {path}; make one with `trailseal keys make`.") from error
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise SettingsError(f"The key file {path} cannot be used: {error}.") from error
