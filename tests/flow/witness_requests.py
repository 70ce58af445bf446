"""A log with a key and two histories, and what it, or somebody without its key, may send to a witness."""

from __future__ import annotations

import socket
import struct
from functools import cache
from random import Random

from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.hash import leaf_hashes, range_root
from trailseal.merkle.notes import Algorithm, encode_base64
from trailseal.merkle.proofs import prove_consistency
from trailseal.merkle.signing import SeedSigner, sign_note
from trailseal.merkle.witness import AddCheckpoint

ORIGIN = "audit.example/fuzzed"
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
STRANGER = SeedSigner(ORIGIN, Algorithm.ED25519, b"\7" * 32)
NOW = 1_700_000_000
MOST = 400
PARTS = 12
"""Leaves after which the histories part."""
HISTORIES = (
    leaf_hashes([b"leaf %d" % number for number in range(MOST)]),
    leaf_hashes([b"leaf %d" % number for number in range(PARTS)] + [b"x %d" % n for n in range(MOST - PARTS)]),
)


@cache
def root(history: int, start: int, stop: int) -> bytes:
    return range_root(HISTORIES[history][start:stop])


def checkpoint(size: int, history: int = 0) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root(history, 0, size))


def request(old: int, size: int, history: int = 0, signer: SeedSigner = LOG) -> bytes:
    """The body that asks to go on from one size of a history to another; without a proof where there is none."""
    proof = prove_consistency(lambda start, stop: root(history, start, stop), old, size) if 0 < old < size else ()
    note = sign_note(checkpoint(size, history).format(), [signer], NOW)
    return AddCheckpoint(old, tuple(proof), note).to_bytes()


def post(body: bytes, *, length: str | None = None, path: str = "/add-checkpoint", method: str = "POST") -> bytes:
    told = str(len(body)) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {told}\r\n\r\n".encode("latin-1") + body


def send(port: int, raw: bytes, *, then: str = "wait") -> tuple[int, bytes]:
    """Send bytes; status and body of what comes back, 0 where nothing does.

    Args:
        port: of the witness.
        raw: what is sent.
        then: ``wait`` for the answer, ``end`` the sending first, or ``reset`` the connection at once.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        answer = b""
        try:
            connection.sendall(raw)
            if then == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return 0, b""
            if then == "end":
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65_536):
                answer += more
        except (ConnectionResetError, BrokenPipeError):
            pass  # it closed on us before it had read everything
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split(b" ")[1]), body) if head.startswith(b"HTTP/1.") else (0, answer)


def malformed(size: int, chance: Random) -> tuple[bytes, str]:
    """A request that no witness that is at that size may cosign, and what follows it."""
    larger = chance.randrange(size + 1, size + 20)
    good = request(size, larger)
    head, _, note = good.partition(b"\n\n")
    old, *proof = head.split(b"\n")
    node = encode_base64(chance.randbytes(32)).encode()
    heads = [
        [chance.choice(ODD_OLD_LINES).replace(b"{}", b"%d" % size), *proof],
        [old, *[node] * chance.choice([len(proof) + 1, 63, 64, 1000])],
        [old, *proof, encode_base64(chance.randbytes(chance.choice([0, 31, 33]))).encode()],
        [old, old, *proof],
        [*proof, old],
    ]
    kinds = [
        lambda: post(flipped(good, chance)),
        lambda: post(good[: chance.randrange(len(good))]),
        lambda: post(good, length=chance.choice(ODD_LENGTHS)),
        lambda: post(b"\n".join(chance.choice(heads)) + b"\n\n" + note),
        lambda: post(chance.randbytes(chance.choice([0, 1, 100, 5_000]))),
        lambda: post(good + chance.choice([b"\n", b"\0", note, b"x" * (1 << 20)])),
        lambda: post(b"\n\n".join([head, *[note.partition(b"\n\n")[0]] * 2, note.partition(b"\n\n")[2]])),
        lambda: post(request(size, larger, signer=STRANGER)),
        lambda: post(request(chance.randrange(size), chance.randrange(1, size))),
        lambda: post(request(0, chance.randrange(PARTS + 1, MOST), history=1)),
        lambda: post(request(size, larger, history=1)),
        lambda: post(good.replace(b"\n%d\n" % larger, b"\n%d\n" % (larger + 1))),
        lambda: post(good, path=chance.choice(ODD_PATHS)),
        lambda: post(good, method=chance.choice(["GET", "PUT", "DELETE", "BREW", "post", ""])),
        lambda: chance.choice([*NO_REQUESTS, chance.randbytes(300)]),
        lambda: post(b"5\r\nhello\r\n0\r\n\r\n").replace(b"Content-Length: 15", b"Transfer-Encoding: chunked"),
        lambda: post(good).replace(b"Host: w", b"X: " + b"y" * 70_000),
    ]
    return chance.choice(kinds)(), chance.choice(["end", "end", "end", "reset"])


ODD_OLD_LINES = (
    *(b"old 0{}", b"old -{}", b"old +{}", b"old {}.0", b"old {} ", b"old  {}", b"old ", b"OLD {}", b"old 1_0", b""),
    *(b"old 18446744073709551616", b"old 9223372036854775808", b"old " + b"9" * 5_000, b"old \xd9\xa1", b"old 0x1"),
)
ODD_LENGTHS = (
    *("", "-1", "+5", "1e3", "0x10", "1_0", "\xb2", "0", "1"),
    *("1000000", "1048577000", "9" * 30, "9" * 5_000),
)
ODD_PATHS = ("/", "/add-checkpoint/", "/add-checkpoint?", "//", "/\x1b[2J", "*")
NO_REQUESTS = (b"\r\n\r\n", b"POST /add-checkpoint\r\n\r\n", b"\x16\x03\x01\0")


def flipped(body: bytes, chance: Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed) if bytes(changed) != body else body[1:]
