"""JSON edited as a text: names given twice, numbers in odd spellings, which no decoded value can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

ODD_NUMBERS = (
    "0{}",
    "+{}",
    "-0",
    "{}.0",
    "{}e0",
    "{}E+0",
    "1_0",
    "{} {}",
    "\u0661",
    "0x{}",
    "-{}",
    "{}.",
    "true",
    "null",
)
ODD_NUMBERS_TOO = ('"{}"', "[{}]", "9223372036854775808", "1e999", "NaN", "Infinity")
ODD_PLACES = (
    "0{}",
    "+{}",
    " {}",
    "{} ",
    "-{}",
    "1_0",
    "{}.0",
    "\u0661",
    "\uff15",
    "",
    "{}/0",
    "0x{}",
    "9223372036854775808",
)


class Raw(str):
    """A text that is put into JSON as it is."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object as the pairs that are written of it."""


def parsed(line: bytes) -> Any:
    return json.loads(line, object_pairs_hook=Pairs)


def written(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{written(name)}:{written(part)}" for name, part in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def line_of(value: Any) -> bytes:
    return written(value).encode("utf-8", "surrogatepass") + b"\n"


def objects(value: Any) -> Iterator[Pairs]:
    """Every object that has a name in it, the outermost first."""
    if isinstance(value, Pairs) and value:
        yield value
    for part in (
        [part for _, part in value] if isinstance(value, Pairs) else value if isinstance(value, list) else ()
    ):
        yield from objects(part)


def escaped(name: str) -> Raw:
    """The same name, spelled otherwise."""
    return Raw('"' + "".join(f"\\u{ord(sign):04x}" for sign in name) + '"')


def with_a_name_twice(line: bytes, chance: Random) -> bytes:
    """One object of it has one name twice: with another value or the same, before or behind the true one."""
    body = parsed(line)
    chosen = chance.choice(list(objects(body)))
    name, value = chance.choice(chosen)
    again = chance.choice([name, escaped(name)])
    other = chance.choice([value, None, "mallory", 0, True, Pairs()])
    start = 1 if chosen is body and line.startswith(b'{"end":') else 0
    chosen.insert(chance.randrange(start, len(chosen) + 1), (again, other))
    return line_of(body)


def edited(value: Any, at: tuple[str | int, ...], change: Callable[[Any], Any]) -> None:
    """One place of a parsed value is made another."""
    step, *rest = at
    places = [name for name, _ in value] if isinstance(value, Pairs) else range(len(value))
    for number, place in enumerate(places):
        if place != step:
            continue
        inner = value[number][1] if isinstance(value, Pairs) else value[number]
        if rest:
            edited(inner, tuple(rest), change)
        elif isinstance(value, Pairs):
            value[number] = (step, change(inner))
        else:
            value[number] = change(inner)


def with_an_odd_number(line: bytes, chance: Random) -> bytes:
    """One number of the file's own frame, not of an event in it, is spelled as no number is there."""
    body = parsed(line)
    names = {name for name, _ in body}
    if "position" in names:
        if chance.random() < 0.5:
            return _with_an_odd_position(body, chance)
        at: tuple[str | int, ...] = ("index",)
    elif "end" in names:
        at = ("end", "rows")
    else:
        at = chance.choice([("trailseal-evidence",), ("logs", 0, "log"), ("logs", 0, "partition")])
    odd = chance.choice(ODD_NUMBERS + ODD_NUMBERS_TOO)
    edited(body, at, lambda number: Raw(odd.replace("{}", str(number))))
    return line_of(body)


def _with_an_odd_position(body: Pairs, chance: Random) -> bytes:
    """In the row and in its event alike."""
    parts = dict(body)["position"].split("/")
    place = chance.randrange(3)
    parts[place] = chance.choice(ODD_PLACES).replace("{}", parts[place])
    for at in (("position",), ("event", "position")):
        edited(body, at, lambda _: "/".join(parts))
    return line_of(body)
