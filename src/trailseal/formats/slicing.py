"""Cuts a stream of JSON into its records: exact bytes, memory flat, however long the stream is.

Framings, told apart by the beginning: arrays, CloudTrail's ``{"Records": [...]}``, and lines. Several arrays or
``Records`` objects may follow each other; after anything else the rest is lines. In lines, an object that goes on
over several lines is one part where its first line does not end in ``}`` and the next does not begin an object.

What a part means is not looked at. A part with wrong JSON inside is cut like any other, and its decoder says what
is wrong; a `Part.problem` says what only the cutter can know: too long to be held, or an array whose brackets no
longer match, after which no later part can be told from data nested in the broken one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from trailseal.errors import Problem
from trailseal.model.limits import MAX_FOREIGN_BYTES

_SPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TO_SIGN: Final = re.compile(rb'[^"{}\[\],]*+(?:%b[^"{}\[\],]*+)*+' % _STRING, re.DOTALL)
_TO_BRACKET: Final = re.compile(rb'[^"{}\[\]]*+(?:%b[^"{}\[\]]*+)*+' % _STRING, re.DOTALL)
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACES: Final = re.compile(rb"[ \t\r\n]*+")
_WRAPPER: Final = re.compile(rb'\{[ \t\r\n]*+"Records"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)')
_WRAPPER_REACH: Final = 256
_LEAPS: Final = 6
_raw_decoder: Final = msgspec.json.Decoder(msgspec.Raw)
_QUOTE, _COMMA, _OPEN_ARRAY, _OPEN_OBJECT = ord('"'), ord(","), ord("["), ord("{")
_CLOSERS: Final = {ord("{"): ord("}"), ord("["): ord("]")}
_END_ARRAY, _END_OBJECT, _BACKSLASH, _END_INPUT = ord("]"), ord("}"), ord("\\"), -1


class Part(msgspec.Struct, frozen=True, gc=False):
    """One record of a stream.

    Attributes:
        start: offset of its first byte in the input.
        end: offset behind its last byte; spaces, commas and newlines around it are in no part.
        line: the line it begins in, from 1.
        value: its bytes; empty where it is too long to be held.
        problem: why it cannot be a record, as far as its frame shows, or None.
    """

    start: int
    end: int
    line: int
    value: bytes
    problem: Problem | None = None


class _BrokenFrameError(Exception):
    """Brackets do not match, or the input ends inside of them."""


class Slicer:
    """Iterates over the parts of one input, once.

    Args:
        chunks: the inflated bytes of the input, cut anywhere.
        max_bytes: length up to which a part is held; a longer one is a `Part` with a problem.
    """

    def __init__(self, chunks: Iterable[bytes], *, max_bytes: int = MAX_FOREIGN_BYTES) -> None:
        self._chunks = iter(chunks)
        self._max_bytes = max_bytes
        self._buffer = b""
        self._base = 0  # offset of the buffer's first byte in the input
        self._keep = 0  # index from which on the buffer is still needed
        self._at = 0  # index up to which it has been looked at
        self._line = 1
        self._counted = 0  # index up to which newlines are in _line
        self._hash = sha256()
        self._hashed = 0
        self._last_end = 0

    def prefix_id(self) -> str:
        """SHA-256 of the input from its start up to and including the last part given out, 64 hexadecimal digits.

        The id of a record that has none: the same when the input has grown, different for identical lines. To be
        asked before the next part is.
        """
        self._feed_hash(self._last_end - self._base)
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[Part]:
        while len(self._buffer) < len(_BOM) and self._fill():
            pass
        if self._buffer.startswith(_BOM):
            self._at = len(_BOM)
        while self._skip_space():
            if self._buffer[self._at] == _OPEN_ARRAY:
                yield from self._array()
            elif self._at_wrapper():
                yield from self._wrapper()
            else:
                yield from self._lines()

    def _fill(self) -> bool:
        """Drop what is not needed and append a chunk; False at the end of the input."""
        chunk = next(self._chunks, None)
        while chunk == b"":
            chunk = next(self._chunks, None)
        if chunk is None:
            return False
        drop = self._keep
        if drop:
            self._feed_hash(drop)
            self._count_lines(drop)
            self._base += drop
            self._keep = 0
            self._at -= drop
            self._counted -= drop
            self._hashed -= drop
        self._buffer = self._buffer[drop:] + chunk
        return True

    def _more(self) -> bool:
        """The same while inside of a part: one that grows too long is let go."""
        if self._at - self._keep > self._max_bytes:
            self._keep = self._at
        return self._fill()

    def _feed_hash(self, index: int) -> None:
        if index > self._hashed:
            self._hash.update(memoryview(self._buffer)[self._hashed : index])
            self._hashed = index

    def _count_lines(self, index: int) -> int:
        """The line that an index of the buffer lies in; indices only grow."""
        if index > self._counted:
            self._line += self._buffer.count(b"\n", self._counted, index)
            self._counted = index
        return self._line

    def _skip_space(self) -> bool:
        """Move to the next byte that is no space and forget what is before it; False at the end."""
        while True:
            self._at = self._keep = _end(_SPACES, self._buffer, self._at)
            if self._at < len(self._buffer):
                return True
            if not self._fill():
                return False

    def _begin(self) -> _Begun:
        return _Begun(self._base + self._at, self._count_lines(self._at))

    def _finish(self, begun: _Begun, problem: Problem | None = None) -> Part:
        """The part from where it began up to here, without the spaces at its end."""
        if self._base + self._keep == begun.start and self._at - self._keep <= self._max_bytes:
            value = self._buffer[self._keep : self._at].rstrip(_SPACE)
            self._last_end = begun.start + len(value)
        else:
            value = b""
            self._last_end = self._base + self._at
            problem = problem or Problem(
                "too-large", f"the event has more than {self._max_bytes} bytes: nothing so long is taken"
            )
        return Part(begun.start, self._last_end, begun.line, value, problem)

    def _at_wrapper(self) -> bool:
        if self._buffer[self._at] != _OPEN_OBJECT:
            return False
        while len(self._buffer) - self._at < _WRAPPER_REACH and self._fill():
            pass
        return _WRAPPER.match(self._buffer, self._at) is not None

    def _wrapper(self) -> Iterator[Part]:
        """The records of the object that begins here; what follows them in it is passed over."""
        self._at = _end(_WRAPPER, self._buffer, self._at)
        yield from self._array()
        sign = _COMMA
        while sign == _COMMA:
            self._keep = self._at
            try:
                sign = self._scan(bytearray())
            except _BrokenFrameError:
                return
            self._at += sign in (_COMMA, _END_OBJECT)

    def _array(self) -> Iterator[Part]:
        """The elements of the array that begins here: what lies between its commas."""
        self._at += 1
        if self._skip_space() and self._buffer[self._at] == _END_ARRAY:
            self._at += 1
            return
        sign = _COMMA
        while sign == _COMMA:
            self._skip_space()
            begun = self._begin()
            self._leap()
            try:
                sign = self._scan(bytearray())
            except _BrokenFrameError:
                sign = _END_OBJECT
            if sign == _END_OBJECT:
                yield self._rest(begun)
                return
            part = self._finish(begun)
            if part.value or part.problem is not None:
                yield part
            elif sign != _END_INPUT:
                yield self._finish(begun, Problem("malformed-json", "an element of the array is missing here"))
            self._at += sign != _END_INPUT
        if sign == _END_INPUT:
            yield self._rest(self._begin())

    def _leap(self) -> None:
        """Move behind the element that begins here, if it is a correct object that is wholly in the buffer.

        No correct object is the beginning of another, so the first cut that decodes is the right one.
        """
        if self._buffer[self._at : self._at + 1] != b"{":
            return
        view = memoryview(self._buffer)
        cut = self._at
        for _ in range(_LEAPS):
            cut = self._buffer.find(b"},", cut) + 1
            if not cut or cut - self._at > self._max_bytes:
                return
            try:
                _raw_decoder.decode(view[self._at : cut])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            self._at = cut
            return

    def _rest(self, begun: _Begun) -> Part:
        """Everything up to the end of the input, as one part that cannot be read."""
        self._at = len(self._buffer)
        while self._more():
            self._at = len(self._buffer)
        detail = "the array breaks off here, or brackets in it do not match: nothing behind this can be told apart"
        return self._finish(begun, Problem("malformed-json", detail))

    def _scan(self, stack: bytearray, *, until_closed: bool = False) -> int:
        """Move over a value to the comma or bracket that ends it, and give that sign.

        Args:
            stack: the closing brackets that are awaited.
            until_closed: end behind the last awaited bracket instead, and let no part grow too long.

        Raises:
            _BrokenFrameError: brackets do not match, or the input ends between them.
        """
        in_string = False
        while True:
            pattern = _IN_STRING if in_string else _TO_BRACKET if stack else _TO_SIGN
            self._at = _end(pattern, self._buffer, self._at)
            sign = self._buffer[self._at] if self._at < len(self._buffer) else _END_INPUT
            if sign in (_END_INPUT, _BACKSLASH):
                if until_closed and self._at - self._keep > self._max_bytes:
                    raise _BrokenFrameError
                if self._more():
                    continue
                if in_string or stack:
                    raise _BrokenFrameError
                return _END_INPUT
            if sign == _QUOTE:
                in_string = not in_string
            elif not stack and sign not in _CLOSERS:
                return sign
            else:
                _follow(stack, sign, self._max_bytes)
            self._at += 1
            if until_closed and not stack:
                return sign

    def _lines(self) -> Iterator[Part]:
        """Lines up to the end of the input."""
        while True:
            buffer, start = self._buffer, self._at
            end = buffer.find(b"\n", start)
            if self._is_plain(start, end):
                self._last_end = self._base + end
                yield Part(self._base + start, self._last_end, self._count_lines(start), buffer[start:end])
                self._at = self._keep = end + 1
            elif self._skip_space():
                yield self._odd_line()
            else:
                return

    def _is_plain(self, start: int, end: int) -> bool:
        return (
            0 < end - start <= self._max_bytes
            and self._buffer[start] == _OPEN_OBJECT
            and self._buffer[end - 1] == _END_OBJECT
        )

    def _odd_line(self) -> Part:
        """A line that is not plainly an object, or an object over several lines."""
        begun = self._begin()
        while (newline := self._buffer.find(b"\n", self._at)) < 0:
            self._at = len(self._buffer)
            if not self._more():
                break
        else:
            self._at = newline
        line = self._finish(begun)
        if not line.value.startswith(b"{") or line.value.endswith(b"}") or not self._goes_on():
            return line
        end_of_line = self._base + self._at
        self._at = self._keep + 1
        try:
            self._scan(bytearray((_END_OBJECT,)), until_closed=True)
        except _BrokenFrameError:
            self._at = end_of_line - self._base
        return self._finish(begun)

    def _goes_on(self) -> bool:
        """Whether what follows the newline here looks like more of the same value."""
        while len(self._buffer) - self._at < len(b"\n{"):
            if not self._fill():
                return False
        return self._buffer[self._at + 1] not in (_OPEN_OBJECT, _OPEN_ARRAY)


class _Begun(msgspec.Struct, frozen=True, gc=False):
    """Where a part begins: offset in the input, and line."""

    start: int
    line: int


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    """The index behind the match; ``at`` where there is none."""
    match = pattern.match(buffer, at)
    return at if match is None else match.end()


def _follow(stack: bytearray, sign: int, deepest: int) -> None:
    """Note an opening or closing bracket; a comma between brackets means nothing."""
    if sign in _CLOSERS:
        if len(stack) == deepest:
            raise _BrokenFrameError
        stack.append(_CLOSERS[sign])
    elif stack[-1] == sign:
        stack.pop()
    elif sign != _COMMA:
        raise _BrokenFrameError
