"""C2SP signed-note: a text with signature lines below it, and the keys that belong to them.

This module knows the form: parsing is strict, so that a note has one reading and one spelling. What a
signature of a type means is in ``signing``. Source: ``signed-note.md`` in C2SP/C2SP.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final, Self

from trailseal.merkle.errors import InvalidNote

MAX_NOTE_SIZE: Final = 1 << 20
"""Bytes of the largest note that is read."""

MAX_SIGNATURES: Final = 64
"""Signature lines of the largest note that is read (the specification asks for at least 16)."""

_MARK: Final = "\u2014 "
_KEY_ID_SIZE: Final = 4
_VKEY: Final = re.compile(r"(?P<name>[^+]+)\+(?P<key_id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+=*)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Algorithm(IntEnum):
    """The signature types that are understood, by their identifier byte."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06


_KEY_SIZES: Final = {
    Algorithm.ED25519: 32,
    Algorithm.COSIGNATURE_ED25519: 32,
    Algorithm.COSIGNATURE_ML_DSA_44: 1312,
}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name: whom a signature line is from and how it was made.

    Attributes:
        name: the key's name; of a log's key, the log's origin.
        algorithm: the signature type.
        public_key: 32 bytes (Ed25519) or 1,312 bytes (ML-DSA-44).
    """

    name: str
    algorithm: Algorithm
    public_key: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != _KEY_SIZES[self.algorithm]:
            raise InvalidNote(f"a key of type {self.algorithm:#04x} is not {len(self.public_key)} bytes long")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand before a signature of this key."""
        return sha256(self.name.encode() + b"\n" + self._typed_key()).digest()[:_KEY_ID_SIZE]

    def vkey(self) -> str:
        """Return the key as text: ``name+keyid+base64``."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(self._typed_key())}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key's text.

        Raises:
            InvalidNote: it is no vkey, of an unknown type, or its key id is not that of its key.
        """
        found = _VKEY.fullmatch(vkey)
        if found is None:
            raise InvalidNote("a verifier key has the form name+8 hex digits+base64")
        typed = decode_base64(found["key"])
        if typed[0] not in Algorithm.__members__.values():
            raise InvalidNote(f"the verifier key of {found['name']} has the unknown type {typed[0]:#04x}")
        key = cls(found["name"], Algorithm(typed[0]), typed[1:])
        if key.key_id.hex() != found["key_id"]:
            raise InvalidNote(f"the verifier key of {key.name} has key id {key.key_id.hex()}, not the one given")
        return key

    def _typed_key(self) -> bytes:
        return bytes([self.algorithm]) + self.public_key


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature below a note.

    Attributes:
        name: the key's name.
        key_id: the key's 4-byte id.
        signature: the bytes after the key id, as the key's type defines them.
    """

    name: str
    key_id: bytes
    signature: bytes

    def format(self) -> str:
        """Return the line with its final newline."""
        return f"{_MARK}{self.name} {encode_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line without its newline.

        Raises:
            InvalidNote: it does not have the form of a signature line.
        """
        name, space, encoded = line.removeprefix(_MARK).partition(" ")
        if not line.startswith(_MARK) or not space:
            raise InvalidNote("a signature line has the form: em dash, space, key name, space, base64")
        check_key_name(name)
        joined = decode_base64(encoded)
        if len(joined) <= _KEY_ID_SIZE:
            raise InvalidNote(f"the signature line of {name} holds no signature")
        return cls(name, joined[:_KEY_ID_SIZE], joined[_KEY_ID_SIZE:])

    def is_by(self, key: VerifierKey) -> bool:
        """Tell whether the line claims to be this key's: name and key id are the same."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of them checked.

    Attributes:
        text: the signed text, ending in a newline.
        signatures: the signature lines in their order, at least one.
    """

    text: str
    signatures: tuple[SignatureLine, ...]

    def to_bytes(self) -> bytes:
        """Return the note's bytes.

        Raises:
            InvalidNote: the text does not end in a newline, holds control characters or no signature
                follows it.
        """
        check_text(self.text)
        if not self.signatures:
            raise InvalidNote("a note without a signature")
        return f"{self.text}\n{''.join(line.format() for line in self.signatures)}".encode()

    def with_signatures(self, lines: Iterable[SignatureLine]) -> Self:
        """Return the note with further signature lines; those it already has are not repeated."""
        new = [line for line in dict.fromkeys(lines) if line not in self.signatures]
        return type(self)(self.text, (*self.signatures, *new))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a note.

        Raises:
            InvalidNote: the bytes are no note, too large, or hold too many signatures.
        """
        if len(data) > MAX_NOTE_SIZE:
            raise InvalidNote(f"a note of {len(data)} bytes is larger than {MAX_NOTE_SIZE}")
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidNote("a note is not UTF-8") from error
        text, blank, below = whole.rpartition("\n\n")
        if not blank or not below.endswith("\n"):
            raise InvalidNote("a note is a text, an empty line, and signature lines, each ending in a newline")
        check_text(text + "\n")
        return cls(text + "\n", parse_signatures(below))


def parse_signatures(lines: str) -> tuple[SignatureLine, ...]:
    """Read signature lines, each ending in a newline: the part below a note, or a witness's answer.

    Raises:
        InvalidNote: there is none, too many, or one that is malformed.
    """
    if not lines.endswith("\n"):
        raise InvalidNote("a signature line does not end in a newline")
    found = lines[:-1].split("\n")
    if len(found) > MAX_SIGNATURES:
        raise InvalidNote(f"{len(found)} signature lines are more than {MAX_SIGNATURES}")
    return tuple(SignatureLine.parse(line) for line in found)


def check_text(text: str) -> None:
    """Refuse a text that cannot be signed.

    Raises:
        InvalidNote: it does not end in a newline, or holds another control character or a lone surrogate.
    """
    if not text.endswith("\n"):
        raise InvalidNote("a note's text does not end in a newline")
    if _CONTROL.search(text):
        raise InvalidNote("a note holds a control character other than newline")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidNote("a note's text is not Unicode text") from error


def check_key_name(name: str) -> None:
    """Refuse what cannot be a key's name.

    Raises:
        InvalidNote: it is empty or holds a space, a plus sign or a control character.
    """
    if not name or "+" in name or _CONTROL.search(name) or any(character.isspace() for character in name):
        raise InvalidNote("a key name is empty or holds a space, a plus sign or a control character")


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4)."""
    return b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Read standard base64, accepting only the one spelling that ``encode_base64`` gives.

    Raises:
        InvalidNote: another alphabet, missing padding, or bits set that carry nothing.
    """
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidNote("not standard base64") from error
    if encode_base64(data) != text:
        raise InvalidNote("base64 in a form that is not the shortest")
    return data
