"""A patient JSON reader: every fault with its path, at any depth of nesting.

The fast decoders come first. This one runs where they fail or where something looks odd. It keeps its own stack, so
that no nesting exhausts the interpreter's, reads each byte once, and follows RFC 8259 to the letter.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import msgspec

from trailseal.errors import Problem
from trailseal.model.limits import MAX_SAFE_INTEGER

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_STRING: Final = re.compile(r'"([^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+)"')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)((?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)")
_LITERAL: Final = re.compile(r"true|false|null")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LITERALS: Final = {"true": True, "false": False, "null": None}
_LONGEST_INTEGER: Final = 300
_LONGEST_PATH: Final = 120


class Reading(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        value: the decoded JSON; lone surrogates became U+FFFD, what lies too deep None. None if malformed.
        texts: every string that is a value, at any depth.
        faults: in the order of the text; a malformed text ends with its fault.
    """

    value: Any
    texts: list[str]
    faults: list[Problem]

    def first(self, *codes: str) -> Problem | None:
        """The first fault with one of these codes."""
        return next((fault for fault in self.faults if fault.code in codes), None)


class _Malformed(Exception):
    """Reading cannot go on; the fault is recorded."""


class _Frame:
    """An object or array being read."""

    __slots__ = ("key", "value")

    def __init__(self, value: dict[str, Any] | list[Any]) -> None:
        self.value = value
        self.key: str | None = None


class _Reader:
    """One reading of one text."""

    def __init__(self, text: str, max_depth: int) -> None:
        self._text = text
        self._max_depth = max_depth
        self._stack: list[_Frame] = []
        self._root: Any = None
        self.texts: list[str] = []
        self.faults: list[Problem] = []

    def read(self) -> Reading:
        """Read the whole text."""
        try:
            at = self._value(self._skip(0))
            while self._stack:
                at = self._value(at)
            if at != len(self._text):
                raise self._malformed(at, "something follows the end of the JSON value")
        except _Malformed:
            return Reading(None, self.texts, self.faults)
        return Reading(self._root, self.texts, self.faults)

    def _value(self, at: int) -> int:
        """Read one scalar or open one container; the place of the next value."""
        sign = self._text[at : at + 1]
        if sign not in ("{", "["):
            value, at = self._scalar(at)
            return self._place(value, self._skip(at))
        if len(self._stack) == self._max_depth:
            self._fault("too-deep", f"is nested more than {self._max_depth} levels deep")
        self._stack.append(_Frame({} if sign == "{" else []))
        at = self._skip(at + 1)
        if self._text[at : at + 1] == ("}" if sign == "{" else "]"):
            return self._place(self._pop(), self._skip(at + 1))
        return self._key(at) if sign == "{" else at

    def _place(self, value: Any, at: int) -> int:
        """Put a finished value where it belongs, with every container that ends behind it."""
        while self._stack:
            frame = self._stack[-1]
            if isinstance(frame.value, list):
                frame.value.append(value)
            else:
                frame.value[frame.key or ""] = value
            closer = "]" if isinstance(frame.value, list) else "}"
            sign = self._text[at : at + 1]
            if sign == ",":
                at = self._skip(at + 1)
                return at if closer == "]" else self._key(at)
            if sign != closer:
                raise self._malformed(at, f"expected a comma or {closer}")
            value = self._pop()
            at = self._skip(at + 1)
        self._root = value
        return at

    def _pop(self) -> Any:
        value = self._stack.pop().value
        return value if len(self._stack) < self._max_depth else None

    def _key(self, at: int) -> int:
        """Read a key and its colon; the place of the value."""
        frame = self._stack[-1]
        frame.key = None
        key, end = self._string(at, "expected a key in double quotes")
        frame.key = key
        self._check_text(key, at, end)
        if key in frame.value:
            self._fault("duplicate-key", "is given twice in one object: keep one")
        end = self._skip(end)
        if self._text[end : end + 1] != ":":
            raise self._malformed(end, "expected a colon after the key")
        return self._skip(end + 1)

    def _scalar(self, at: int) -> tuple[Any, int]:
        if self._text[at : at + 1] == '"':
            text, end = self._string(at, "")
            text = self._check_text(text, at, end)
            self.texts.append(text)
            return text, end
        literal = _LITERAL.match(self._text, at)
        if literal is not None:
            return _LITERALS[literal[0]], literal.end()
        number = _NUMBER.match(self._text, at)
        if number is None:
            raise self._malformed(at, "expected a value")
        return self._number(number[0], whole=not number[1]), number.end()

    def _string(self, at: int, otherwise: str) -> tuple[str, int]:
        match = _STRING.match(self._text, at)
        if match is None:
            if otherwise and self._text[at : at + 1] != '"':
                raise self._malformed(at, otherwise)
            raise self._malformed(at, "a string does not end, or holds a raw control character or a wrong escape")
        text = match[1]
        return (json.loads(match[0]) if "\\" in text else text), match.end()

    def _check_text(self, text: str, at: int, end: int) -> str:
        """Note what no text may hold; the text without lone surrogates."""
        if "\0" in text:
            self._fault("nul-character", "holds the character NUL")
        if text.isascii() or _SURROGATE.search(text) is None:
            return text
        if _SURROGATE.search(self._text, at, end) is not None:
            self._fault("invalid-utf8", "is not UTF-8")
        else:
            self._fault("lone-surrogate", "holds half a surrogate pair, which is no character")
        return _SURROGATE.sub("\ufffd", text)

    def _number(self, digits: str, *, whole: bool) -> Any:
        if whole:
            if len(digits) > _LONGEST_INTEGER:
                self._fault("integer-out-of-range", "is an integer of absurd length: send it as a string")
                return digits
            integer = int(digits)
            if not -MAX_SAFE_INTEGER <= integer <= MAX_SAFE_INTEGER:
                self._fault(
                    "integer-out-of-range",
                    "is an integer beyond 2^53, which many readers round: send it as a string",
                )
            return integer
        number = float(digits)
        if math.isfinite(number):
            return number
        self._fault("number-out-of-range", "is a number too great for a double: send it as a string")
        return digits

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()

    def _path(self) -> str | None:
        parts: list[str] = []
        length = 0
        for frame in self._stack:
            if isinstance(frame.value, list):
                parts.append(f"[{len(frame.value)}]")
            elif frame.key is not None:
                parts.append(f".{frame.key}" if parts else frame.key)
            length += len(parts[-1]) if parts else 0
            if length > _LONGEST_PATH:
                return _SURROGATE.sub("\ufffd", "".join(parts)[:_LONGEST_PATH]) + "…"
        return _SURROGATE.sub("\ufffd", "".join(parts)) or None

    def _fault(self, code: str, what: str) -> None:
        path = self._path()
        self.faults.append(Problem(code, f"{path or 'the event'} {what}", path))

    def _malformed(self, at: int, why: str) -> _Malformed:
        place = len(self._text[:at].encode("utf-8", "surrogateescape"))
        bad = _SURROGATE.match(self._text, at)
        path = self._path()
        code, detail = (
            ("invalid-utf8", f"the bytes at {place} are not UTF-8")
            if bad
            else ("malformed-json", f"not JSON at byte {place}: {why}")
        )
        self.faults.append(Problem(code, detail, path))
        return _Malformed()


def read_json(value: bytes, max_depth: int) -> Reading:
    """Read one JSON text with patience; bytes that are not UTF-8 are faults like others.

    Args:
        value: the JSON text.
        max_depth: levels of objects and arrays that are kept; deeper ones are read and replaced by null.
    """
    return _Reader(value.decode("utf-8", "surrogateescape"), max_depth).read()
