"""A witness: its keys, the logs it watches and what it last cosigned of each, in a folder of its own.

    witness.key        the secret seeds, as the log's own keys are kept: one, or a post-quantum one beside it
    name               the witness's name
    logs               a verifier key a line: the logs that are watched; a line more is seen at the next request
    heads/<hash>       what was last cosigned of a log: origin, size, root; the name is the origin's SHA-256
    evidence/<time>…   checkpoints that a log signed and that do not continue what was cosigned before

The state is on the disk before a cosignature leaves, so a witness never cosigns two histories, whatever crashes.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import msgspec

from trailseal.errors import SettingsError, UsageError
from trailseal.merkle.checkpoints import Checkpoint, check_origin
from trailseal.merkle.errors import InvalidNote
from trailseal.merkle.notes import Algorithm, Note, VerifierKey, check_key_name, encode_base64
from trailseal.merkle.signing import SeedSigner
from trailseal.merkle.witness import SIZE_CONTENT_TYPE, TreeHead, cosign, decide
from trailseal.sealing.keys import KeyFile
from trailseal.sealing.small_files import write_whole

_TEXT: Final = "text/plain; charset=utf-8"
_COSIGNING: Final = {
    Algorithm.ED25519: Algorithm.COSIGNATURE_ED25519,
    Algorithm.COSIGNATURE_ML_DSA_44: Algorithm.COSIGNATURE_ML_DSA_44,
}
"""What a key of the file cosigns with."""


class Reply(msgspec.Struct, frozen=True):
    """What the witness answers: status, media type, body."""

    status: int
    content_type: str
    body: bytes


class WitnessFolder:
    """A witness in its folder. Safe to use from many threads and processes.

    Raises:
        SettingsError: the folder holds no witness.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        try:
            name = (path / "name").read_text("utf-8").strip()
            signing = [key for key in KeyFile(path / "witness.key").ring().keys if key.secret]
            self._signers = [SeedSigner(name, _COSIGNING[key.algorithm], key.secret or b"") for key in signing]
        except (OSError, ValueError, InvalidNote) as error:
            raise SettingsError(f"{path} holds no witness; make one with `trailseal witness init`.") from error

    @classmethod
    def make(cls, path: Path, name: str, now: str, *, post_quantum: bool = False) -> Self:
        """A new witness; one that is there already must have the same name.

        Args:
            path: the folder; made where it is missing.
            name: the witness's name, for example ``witness.example/w1``.
            now: the time, RFC 3339.
            post_quantum: with an ML-DSA-44 key too, which is added to one that is there.

        Raises:
            UsageError: the name cannot be a key's, or another witness lives there.
            SettingsError: the folder cannot be written.
        """
        try:
            check_key_name(name)
            (path / "heads").mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / "evidence").mkdir(mode=0o700, exist_ok=True)
            if (path / "name").exists() and (path / "name").read_text("utf-8").strip() != name:
                raise UsageError(f"{path} holds a witness of another name.")
            KeyFile(path / "witness.key").make(now, post_quantum=post_quantum)
            write_whole(path / "name", f"{name}\n".encode())
        except InvalidNote as error:
            raise UsageError(f"{name!r} cannot be a witness's name: {error}.") from error
        except OSError as error:
            raise SettingsError(f"The witness folder {path} cannot be made: {error.strerror}.") from error
        return cls(path)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The public keys that cosignatures are checked with."""
        return tuple(signer.key for signer in self._signers)

    def logs(self) -> dict[str, list[VerifierKey]]:
        """The keys of every log that is watched, by origin.

        Raises:
            SettingsError: a line is no verifier key.
        """
        logs: dict[str, list[VerifierKey]] = {}
        path = self._path / "logs"
        try:
            for line in path.read_text("utf-8").splitlines() if path.exists() else ():
                key = VerifierKey.parse(line)
                logs.setdefault(key.name, []).append(key)
        except InvalidNote as error:
            raise SettingsError(f"{path} has a line that is no verifier key: {error}.") from error
        return logs

    def watch(self, vkeys: Sequence[str]) -> list[str]:
        """Watch logs, or accept more keys of them; the logs' names.

        Raises:
            UsageError: one is no verifier key of a log; nothing is changed then.
        """
        try:
            keys = [VerifierKey.parse(vkey) for vkey in vkeys]
            for key in keys:
                check_origin(key.name)  # a longer one cannot be cosigned with ML-DSA-44
        except InvalidNote as error:
            raise UsageError(f"That is no log's verifier key: {error}. `trailseal keys show` prints it.") from error
        if any(key.algorithm is Algorithm.COSIGNATURE_ED25519 for key in keys):
            raise UsageError("That is a witness's key (type 04), no log's. `trailseal keys show` prints a log's.")
        with self._locked():
            known = (key.vkey() for keys in self.logs().values() for key in keys)
            write_whole(self._path / "logs", "\n".join([*dict.fromkeys([*known, *vkeys]), ""]).encode())
        return list(dict.fromkeys(key.name for key in keys))

    def add_checkpoint(self, body: bytes, now_s: int) -> Reply:
        """Answer a request ``add-checkpoint``.

        Args:
            body: the request's.
            now_s: POSIX seconds, for the cosignature.
        """
        with self._locked():
            logs = self.logs()
            verdict = decide(body, logs, self.head)
            if verdict.status is HTTPStatus.OK and verdict.origin is not None and verdict.state is not None:
                self._keep(verdict.origin, verdict.state)
                return Reply(verdict.status, _TEXT, cosign(verdict, self._signers, now_s).encode())
            if verdict.note is not None and verdict.origin is not None:
                self._keep_evidence(verdict.note, logs[verdict.origin], now_s)
        if verdict.status is HTTPStatus.CONFLICT:
            return Reply(verdict.status, SIZE_CONTENT_TYPE, b"%d\n" % (verdict.known_size or 0))
        return Reply(verdict.status, _TEXT, f"{verdict.reason}\n".encode())

    def head(self, origin: str) -> TreeHead:
        """What was last cosigned of a log."""
        path = self._head_path(origin)
        if not path.exists():
            return TreeHead()
        try:
            kept = Checkpoint.parse(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, InvalidNote) as error:
            raise SettingsError(f"The witness's state {path} is damaged; restore it from its copy.") from error
        return TreeHead(kept.size, kept.root)

    def _keep(self, origin: str, head: TreeHead) -> None:
        write_whole(self._head_path(origin), f"{origin}\n{head.size}\n{encode_base64(head.root)}\n".encode())

    def _keep_evidence(self, note: Note, keys: Sequence[VerifierKey], now_s: int) -> None:
        """Keep what the log signed, once, and nothing that others wrote below it: anybody may send it again."""
        own = tuple(line for line in dict.fromkeys(note.signatures) if any(line.is_by(key) for key in keys))
        name = sha256(note.text.encode()).hexdigest()[:16]
        if not any((self._path / "evidence").glob(f"*-{name}")):
            write_whole(self._path / "evidence" / f"{now_s}-{name}", Note(note.text, own).to_bytes())

    def _head_path(self, origin: str) -> Path:
        return self._path / "heads" / sha256(origin.encode()).hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads, (self._path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
