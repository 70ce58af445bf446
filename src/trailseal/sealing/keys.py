"""The keys that sign checkpoints: one small text file, readable by its owner only.

A line a key: ``signing <when made> <seed>`` or ``retired <when made> <public key>``, in hexadecimal; a fourth word
``ml-dsa-44`` makes it a post-quantum key instead of an Ed25519 one. All signing keys sign, so that an auditor who
knows either the old or the new one can check every checkpoint of an overlap.
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
_POST_QUANTUM: Final = "ml-dsa-44"


class SealKey(msgspec.Struct, frozen=True):
    """One key of the file.

    Attributes:
        state: ``signing``, or ``retired``: known, but no longer signing.
        made: when it was made, RFC 3339.
        public_key: 32 bytes (Ed25519) or 1,312 bytes (ML-DSA-44).
        secret: the seed; None of a retired key.
        algorithm: what it signs with.
    """

    state: Literal["signing", "retired"]
    made: str
    public_key: bytes
    secret: bytes | None = None
    algorithm: Algorithm = Algorithm.ED25519

    def verifier(self, origin: str) -> VerifierKey:
        """The public side under a log's name."""
        return VerifierKey(origin, self.algorithm, self.public_key)

    def retired(self) -> SealKey:
        """The same without its secret."""
        return msgspec.structs.replace(self, state="retired", secret=None)

    def line(self) -> str:
        """Its line in the file."""
        words = [self.state, self.made, (self.secret or self.public_key).hex()]
        return " ".join(words if self.algorithm is Algorithm.ED25519 else [*words, _POST_QUANTUM])


class KeyRing(msgspec.Struct, frozen=True):
    """The keys of a file, the oldest first."""

    keys: tuple[SealKey, ...]

    def signing(self, algorithm: Algorithm) -> tuple[SealKey, ...]:
        """The keys of one algorithm that sign."""
        return tuple(key for key in self.keys if key.secret is not None and key.algorithm is algorithm)

    def signers(self, origin: str) -> tuple[SeedSigner, ...]:
        """Everything that signs any note of that log, the oldest key first: its Ed25519 keys."""
        return self._signers(origin, Algorithm.ED25519)

    def checkpoint_signers(self, origin: str) -> tuple[SeedSigner, ...]:
        """Everything that signs checkpoints of that log: also what can sign nothing else, after the others."""
        return (*self.signers(origin), *self._signers(origin, Algorithm.COSIGNATURE_ML_DSA_44))

    def verifiers(self, origin: str) -> tuple[VerifierKey, ...]:
        """Every public key, retired ones too."""
        return tuple(key.verifier(origin) for key in self.keys)

    def _signers(self, origin: str, algorithm: Algorithm) -> tuple[SeedSigner, ...]:
        seeds = [key.secret for key in self.signing(algorithm) if key.secret is not None]
        return tuple(SeedSigner(origin, algorithm, seed) for seed in seeds)


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

    def make(self, now: str, *, post_quantum: bool = False) -> KeyRing:
        """Create the file with one fresh key; with a file there already, its keys.

        Args:
            now: the time, RFC 3339.
            post_quantum: an ML-DSA-44 key has to be there too, and is added to a file that has none that signs.
        """
        if not self.path.exists():
            with suppress(FileExistsError):
                self._write(KeyRing((_fresh(now, Algorithm.ED25519),)), create=True)
        ring = self.ring()
        if post_quantum and not ring.signing(Algorithm.COSIGNATURE_ML_DSA_44):
            self._write(KeyRing((*ring.keys, _fresh(now, Algorithm.COSIGNATURE_ML_DSA_44))))
        return self.ring()

    def rotate(self, now: str) -> KeyRing:
        """Add a fresh signing key beside those that sign, for each algorithm that signs.

        Raises:
            UsageError: two of one algorithm sign already: the overlap before has not ended.
        """
        ring = self.ring()
        signing = [ring.signing(algorithm) for algorithm in Algorithm]
        if any(len(keys) > 1 for keys in signing):
            raise UsageError(
                "Two keys sign already. End that overlap first with `trailseal keys rotate --finish`, when every"
                " auditor knows the new key."
            )
        self._write(KeyRing((*ring.keys, *(_fresh(now, keys[0].algorithm) for keys in signing if keys))))
        return self.ring()

    def finish(self) -> KeyRing:
        """End an overlap: only the newest key of each algorithm signs on, the others' secrets are gone.

        Raises:
            UsageError: only one key of each algorithm signs.
        """
        ring = self.ring()
        older = [key for algorithm in Algorithm for key in ring.signing(algorithm)[:-1]]
        if not older:
            raise UsageError("Only one key signs: there is no overlap to end. `trailseal keys rotate` begins one.")
        self._write(KeyRing(tuple(key.retired() if key in older else key for key in ring.keys)))
        return self.ring()

    def _write(self, ring: KeyRing, *, create: bool = False) -> None:
        with _translated(self.path):
            lines = [_LABEL, *(key.line() for key in ring.keys), ""]
            write_whole(self.path, "\n".join(lines).encode(), create=create)


def _fresh(now: str, algorithm: Algorithm) -> SealKey:
    return _from_seed(now, secrets.token_bytes(SEED_SIZE), algorithm)


def _from_seed(made: str, seed: bytes, algorithm: Algorithm) -> SealKey:
    return SealKey("signing", made, SeedSigner("key", algorithm, seed).key.public_key, seed, algorithm)


def _parse(path: Path, text: str) -> KeyRing:
    label, *lines = text.splitlines() or [""]
    ring = KeyRing(tuple(_key(path, line) for line in lines))
    if label != _LABEL or not ring.signing(Algorithm.ED25519):
        raise SettingsError(f"{path} is not a file of seal keys, or none of its Ed25519 keys signs.")
    return ring


def _key(path: Path, line: str) -> SealKey:
    try:
        state, made, digits, *kind = line.split(" ")
        data = bytes.fromhex(digits)
        algorithm = {(): Algorithm.ED25519, (_POST_QUANTUM,): Algorithm.COSIGNATURE_ML_DSA_44}[tuple(kind)]
        if state == "signing":
            return _from_seed(made, data, algorithm)
        if state == "retired":
            return SealKey("retired", made, VerifierKey("key", algorithm, data).public_key, None, algorithm)
    except (ValueError, KeyError, InvalidNote):
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
