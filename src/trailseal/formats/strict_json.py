"""JSON that has one reading, or none: what two readers could take for different values is refused.

The fast decoders let the last of two equal names win, other readers the first, and some show both.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn


class RepeatedName(ValueError):
    """Two names of one object are the same."""


def read_strictly(data: bytes) -> Any:
    """Read one JSON text; the integer ``-0`` is read as a double, since there is no such integer.

    Raises:
        RepeatedName: a name stands twice in one object, at any depth and in any spelling.
        ValueError: it is not JSON as RFC 8259 says, not UTF-8, or holds a number beyond a double or half a
            surrogate pair.
        RecursionError: it is nested too deep.
    """
    text = data.decode()
    value = _decoder.decode(text)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair can be encoded
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedName("a name stands twice in one object")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is beyond a double")
    return number


def _whole(digits: str) -> int | float:
    return -0.0 if digits == "-0" else int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_finite, parse_int=_whole, parse_constant=_no_constant
)
