"""The statement that leaf 0 of every log commits to: which log this is and where it comes from.

    trailseal-genesis/1
    origin audit.example/cluster-1/events/topic-id/0/2
    base 0
    key audit.example/cluster-1/events/topic-id/0/2+0f1e2d3c+AV…
    previous 20852163 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= audit.example/cluster-1/events/topic-id/0/1
    reason topic made anew

One or more ``key`` lines name the keys that sign the first checkpoint; no or more ``previous`` lines name the
final checkpoints of the logs this one continues. The statement holds no secret and no personal data and is
published with the log; the entry's commit is its SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from trailseal.merkle.checkpoints import Checkpoint, check_origin, parse_size
from trailseal.merkle.errors import InvalidEncoding, MerkleError
from trailseal.merkle.leaf import EntryType, LeafEntry
from trailseal.merkle.notes import VerifierKey, check_text, encode_base64

_LABEL: Final = "trailseal-genesis/1"


@dataclass(frozen=True, slots=True)
class Genesis:
    """A log's beginning.

    Attributes:
        origin: the log's name, with its epoch.
        base: the offset of the first record or gap, leaf 1.
        keys: the keys that sign the log's first checkpoints, at least one.
        previous: the final checkpoints of the logs this one continues.
        reason: one line for people: why the log begins.
    """

    origin: str
    base: int
    keys: tuple[VerifierKey, ...]
    previous: tuple[Checkpoint, ...]
    reason: str

    def statement(self) -> bytes:
        """Return the statement's bytes.

        Raises:
            InvalidEncoding: a part is missing or cannot be written in its line.
        """
        if not self.keys or not self.reason or "\n" in self.reason:
            raise InvalidEncoding("a genesis has at least one key and a reason of one line")
        lines = [_LABEL, f"origin {self.origin}", f"base {self.base}"]
        lines += [f"key {key.vkey()}" for key in self.keys]
        lines += [f"previous {log.size} {encode_base64(log.root)} {log.origin}" for log in self.previous]
        text = "\n".join([*lines, f"reason {self.reason}", ""])
        try:
            check_origin(self.origin)
            parse_size(str(self.base))
            check_text(text)
            for log in self.previous:
                log.format()
        except MerkleError as error:
            raise InvalidEncoding(f"a genesis that cannot be written: {error}") from error
        return text.encode()

    def entry(self, time_ms: int) -> LeafEntry:
        """Return leaf 0 of the log, which begins at that time (milliseconds since the epoch).

        Raises:
            InvalidEncoding: the statement cannot be written.
        """
        return LeafEntry(EntryType.GENESIS, self.base, time_ms, sha256(self.statement()).digest())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a statement.

        Raises:
            InvalidEncoding: it is not exactly what ``statement`` writes.
        """
        try:
            genesis = cls._parse_lines(data.decode().split("\n"))
        except (UnicodeDecodeError, MerkleError, IndexError, ValueError) as error:
            raise InvalidEncoding("not a genesis statement: a line is missing or malformed") from error
        if genesis.statement() != data:
            raise InvalidEncoding("not a genesis statement: lines out of order or not in their only spelling")
        return genesis

    @classmethod
    def _parse_lines(cls, lines: list[str]) -> Self:
        fields = [line.partition(" ") for line in lines[1:-1]]
        previous = [rest.split(" ") for word, _, rest in fields if word == "previous"]
        return cls(
            origin=fields[0][2],
            base=parse_size(fields[1][2]),
            keys=tuple(VerifierKey.parse(rest) for word, _, rest in fields if word == "key"),
            previous=tuple(Checkpoint.parse(f"{origin}\n{size}\n{root}\n") for size, root, origin in previous),
            reason=fields[-1][2],
        )
