"""Verify what a Trailseal log says, without trusting or installing it: one file, Python >= 3.11 and `cryptography`.

    python3 trailseal_verifier.py --key VKEY receipt.tlog-proof                   one record
    python3 trailseal_verifier.py --key VKEY export.ndjson                        an export with proofs
    python3 trailseal_verifier.py --key VKEY https://host/integrity/logs/1/0      the whole tree, from its tiles
    python3 trailseal_verifier.py --key VKEY TILES --rows export.ndjson --old checkpoint-of-last-visit

Get the keys (--key of each log, --witness of each witness) from people, never from the log. Exit status: 0
everything holds, 1 something was tampered with, 2 something could not be verified. A post-quantum key (ML-DSA-44)
signs checkpoints only and needs `cryptography` >= 50. It shares no code with Trailseal. The formats: its
docs/reference/seal-format.md, RFC 6962 and RFC 9162, FIPS 204, C2SP signed-note, tlog-cosignature, tlog-tiles and
tlog-proof.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import ipaddress
import json
import math
import struct
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENTRY = 66  # bytes of an entry: label 17, type 1, offset 8, time 8, commit 32
WIDTH = 256  # entries in a full bundle
RECORD, GAP = 1, 2  # the types of entries that stand for a record, and for none
KEY_SIZES = {1: 32, 4: 32, 6: 1312}  # bytes of a public key: Ed25519, the same for witnesses, ML-DSA-44
OWN_HEADERS = ("trailseal-id", "trailseal-tenant", "trailseal-format")  # each of them once
Key = tuple[str, bytes, int, bytes]  # name, key id, type, public key
Checkpoint = tuple[str, int, bytes]  # origin, size, root
Rows = dict[tuple[str, int], bytes]  # origin, leaf index -> entry


class Tampered(Exception):
    """Something is not what was sealed."""


class TwoReadings(Tampered):
    """JSON that one reader takes for another value than the next."""


class Unverified(Exception):
    """Something cannot be verified with what is here."""


# --- hashing: RFC 6962 section 2.1 ---


def sha256(data: bytes) -> bytes:
    """The hash everything is made of."""
    return hashlib.sha256(data).digest()


def leaf_hash(entry: bytes) -> bytes:
    """Prefixed, so that no leaf can pass for a node."""
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees."""
    return sha256(b"\x01" + left + right)


class Tree:
    """Leaves added one by one; remembers one root for each complete subtree on the right edge."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[tuple[int, bytes]] = []  # (leaves, root), the largest first

    def add(self, entry: bytes) -> None:
        """Append a leaf."""
        leaves, root = 1, leaf_hash(entry)
        while self.peaks and self.peaks[-1][0] == leaves:
            leaves, root = 2 * leaves, node_hash(self.peaks.pop()[1], root)
        self.peaks.append((leaves, root))
        self.size += 1

    def root(self) -> bytes:
        """Of all leaves so far."""
        if not self.peaks:
            return sha256(b"")
        root = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            root = node_hash(left, root)
        return root


def check_inclusion(entry: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        raise Tampered(f"leaf {index} is not in a tree of {size} leaves")
    node, last, result = index, size - 1, leaf_hash(entry)
    for sibling in proof:
        if last == 0 or len(sibling) != 32:
            raise Tampered("the inclusion proof is malformed")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    if last or result != root:
        raise Tampered("the inclusion proof does not lead to the checkpoint's root")


# --- texts with one reading ---


def decoded(data: bytes) -> str:
    """UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Tampered("not UTF-8") from error


def read_json(data: bytes) -> Any:
    """JSON that no two readers take for different values: no name twice in one object, and so on."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise TwoReadings("a name stands twice in one object")
        return found

    def double(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise Tampered(f"{digits} is no number of JSON, or beyond a double")
        return float(digits)

    def integer(digits: str) -> float:
        return double(digits) if digits == "-0" else int(digits)

    try:
        value = json.loads(
            decoded(data), object_pairs_hook=once, parse_float=double, parse_constant=double, parse_int=integer
        )
        if b"\\ud" in data.lower():
            json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair can be encoded
    except ValueError as error:
        raise Tampered("not JSON") from error
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; in Python itself True == 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def typed(kind: type, value: Any) -> Any:
    """The value, which has to be of that very type."""
    if type(value) is not kind:
        raise Tampered(f"a value is not the {kind.__name__} that it has to be")
    return value


def whole(value: Any) -> int:
    """A count, index or number of a log: an integer, so neither 1.0 nor true."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise Tampered("a value is no whole number below 2^63")
    return value


def decimal(text: str) -> int:
    """A size, index or offset in its one spelling."""
    if not (text.isascii() and text.isdecimal() and text == str(int(text))):
        raise Tampered("a number is not in decimal digits without zeroes before them")
    return whole(int(text))


# --- notes, keys and checkpoints: C2SP signed-note and tlog-checkpoint ---


def strict_base64(text: str) -> bytes:
    """RFC 4648 section 4, in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Tampered("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Tampered("base64 in another spelling than the shortest")
    return data


def parse_key(vkey: str) -> Key:
    """``name+key id+base64(type, public key)``: type 1 signs for a log, type 4 for a witness, type 6 for either."""
    name, _, rest = vkey.strip().partition("+")
    shown, _, encoded = rest.partition("+")
    try:
        kind, *public = strict_base64(encoded)
    except (Tampered, ValueError):
        kind, public = 0, []
    key_id = sha256(name.encode() + b"\n" + bytes([kind, *public]))[:4]
    if not name or key_id.hex() != shown or len(public) != KEY_SIZES.get(kind):
        raise Unverified(f"{vkey!r} is no verifier key of a type that is known here")
    return name, key_id, kind, bytes(public)


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and name and bytes (key id and signature) of each signature line."""
    text, blank, below = note.rpartition("\n\n")
    if not blank or not below.endswith("\n") or any(sign < " " and sign != "\n" for sign in note):
        raise Tampered("not a signed note")
    signatures = []
    for line in below[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        blob = strict_base64(encoded)
        if dash != "\u2014" or not name or any(sign <= " " or sign == "+" or sign.isspace() for sign in name):
            raise Tampered("a signature line is not: dash, space, name, space, base64")
        if len(blob) <= 4:
            raise Tampered(f"the signature line of {name} holds no signature")
        signatures.append((name, blob))
    return text + "\n", signatures


def check_signature(kind: int, name: str, public: bytes, text: str, signature: bytes) -> None:
    """C2SP tlog-cosignature says what each type signs: the text, with a time, or parts of it with name and time."""
    if kind == 1:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())
        return
    time, signature = signature[:8], signature[8:]
    if kind == 4:
        message = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n{text}".encode()
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return
    origin, size, root = text.split("\n")[:3]
    named, logged = name.encode(), origin.encode()
    message = b"subtree/v1\n\0" + bytes([len(named)]) + named + time + bytes([len(logged)]) + logged
    message += struct.pack(">QQ", 0, int(size)) + strict_base64(root)
    verify_post_quantum(public, signature, message)


def verify_post_quantum(public: bytes, signature: bytes, message: bytes) -> None:
    """ML-DSA-44, FIPS 204; imported here since the rest works with an older `cryptography`."""
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey  # noqa: PLC0415

        key = MLDSA44PublicKey.from_public_bytes(public)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise Unverified("the `cryptography` here cannot verify ML-DSA-44: install 50 or newer") from error
    key.verify(signature, message)


def check_signatures(note: str, keys: list[Key]) -> tuple[str, set[str]]:
    """The note's text and the names of the known keys that signed it; one bad signature spoils all."""
    text, signatures = split_note(note)
    signers = set()
    for name, blob in signatures:
        for known, key_id, kind, public in keys:
            if name != known or blob[:4] != key_id:
                continue
            try:
                check_signature(kind, name, public, text, blob[4:])
            except (InvalidSignature, ValueError, struct.error) as error:
                raise Tampered(f"the signature by {name} does not fit") from error
            signers.add(name)
    return text, signers


class Keys:
    """What the auditor brought along."""

    def __init__(self, logs: list[str], witnesses: list[str], quorum: int | None) -> None:
        self.logs = [parse_key(vkey) for text in logs for vkey in text.split() or [text]]
        self.witnesses = [parse_key(vkey) for text in witnesses for vkey in text.split() or [text]]
        self.quorum = len({key[0] for key in self.witnesses}) if quorum is None else quorum
        if any(key[2] == 4 for key in self.logs) or any(key[2] == 1 for key in self.witnesses):
            raise Unverified(
                "a key of type 4 is a witness's and goes with --witness, one of type 1 a log's, with --key"
            )
        of_logs = {part for name, _, _, public in self.logs for part in (name, public)}
        owner = {public: name for name, _, _, public in self.witnesses}
        if any(
            name in of_logs or public in of_logs or owner[public] != name for name, _, _, public in self.witnesses
        ):
            raise Unverified("a --witness has the name or key of a log, or the key of a witness of another name")

    def open(self, note: str) -> Checkpoint:
        """A checkpoint that its log signed and enough witnesses cosigned."""
        lines = split_note(note)[0].split("\n")[:-1]
        if len(lines) < 3 or "" in lines:
            raise Tampered("not a checkpoint")
        origin, size, root = lines[0], decimal(lines[1]), strict_base64(lines[2])
        if len(root) != 32:
            raise Tampered("not a checkpoint")
        _, signers = check_signatures(note, [key for key in self.logs if key[0] == origin])
        if not signers:
            raise Unverified(f"no --key given signed the checkpoint of {origin}")
        _, cosigners = check_signatures(note, [key for key in self.witnesses if key[0] != origin])
        if len(cosigners) < self.quorum:
            raise Unverified(f"{len(cosigners)} of the witnesses cosigned {origin}, {self.quorum} are needed")
        return origin, size, root


# --- records: frame, commitment, entry ---


def read_frame(frame: bytes) -> tuple[int, bytes | None, list[tuple[str, bytes | None]]]:
    """Append time (ms), value and headers of a record."""

    def field(at: int) -> tuple[bytes | None, int]:
        (length,) = struct.unpack_from(">I", frame, at)
        end = at + 4 + (0 if length == 0xFFFFFFFF else length)
        if end > len(frame):
            raise Tampered("a frame is cut off")
        return (None if length == 0xFFFFFFFF else frame[at + 4 : end]), end

    try:
        version, time_ms = struct.unpack_from(">Bq", frame)
        _, at = field(9)
        value, at = field(at)
        (count,) = struct.unpack_from(">I", frame, at)
        headers, at = [], at + 4
        for _ in range(count):
            name, at = field(at)
            content, at = field(at)
            if name is None:
                raise Tampered("a header without a name")
            headers.append((name.decode("utf-8", "surrogateescape"), content))
    except struct.error as error:
        raise Tampered("a frame is cut off") from error
    if version != 1 or at != len(frame):
        raise Tampered("not a frame of version 1")
    return time_ms, value, headers


class Shown(NamedTuple):
    """What an opening shows: entry and offset of a leaf, and its record's time, value and headers."""

    entry: bytes
    offset: int
    time_ms: int = 0
    value: bytes | None = None
    headers: list[tuple[str, bytes | None]] = []  # noqa: RUF012 - a tuple's default, never written to


def check_opening(opening: bytes) -> Shown:
    """Of entry, salt and frame, that the one commits to the other."""
    entry, salt, frame = opening[:ENTRY], opening[ENTRY : ENTRY + 32], opening[ENTRY + 32 :]
    if len(entry) != ENTRY or not entry.startswith(b"trailseal-leaf/1\0"):
        raise Tampered("not an entry")
    kind, offset, time_ms = struct.unpack_from(">BQQ", entry, 17)
    if kind > GAP or (kind == GAP and any(entry[26:])):
        raise Tampered("not an entry")
    if opening == entry:
        return Shown(entry, offset)
    if not frame:
        raise Tampered("an opening is cut off")
    shown_ms, value, headers = read_frame(frame)
    if kind != RECORD or hmac.digest(salt, frame, "sha256") != entry[34:] or max(shown_ms, 0) != time_ms:
        raise Tampered(f"the record shown for offset {offset} is not the one that was sealed")
    return Shown(entry, offset, shown_ms, value, headers)


def instant(text: str) -> str:
    """A time as events show it; a leap second is the first second of the next day."""
    usual = text.upper().replace(":60", ":59", 1)
    at = datetime.fromisoformat(usual).astimezone(UTC) + timedelta(seconds=usual != text.upper())
    return at.replace(tzinfo=None).isoformat() + "Z"


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what counts as left out."""
    return {name: part for name, part in fields.items() if part is not None}


def headers_of(shown: Shown) -> dict[str, bytes]:
    """The first of each name that is not null."""
    return {name: value for name, value in reversed(shown.headers) if value is not None}


def format_of(headers: dict[str, bytes]) -> str:
    """The format of a record: named by Trailseal's own header, or by those of CloudEvents in Kafka."""
    if "trailseal-format" in headers:
        return headers["trailseal-format"].decode()
    structured = headers.get("content-type", b"").lower().startswith(b"application/cloudevents+json")
    return "cloudevents" if structured or "ce_specversion" in headers else "native"


def native_event(body: dict[str, Any], headers: dict[str, bytes]) -> dict[str, Any]:
    """What a record of the native format says, as events show it."""
    said: dict[str, Any] = {"tenant_id": "default", "outcome": "success"} | present(body)
    for name, header in (("id", "trailseal-id"), ("tenant_id", "trailseal-tenant")):
        if header in headers:
            said[name] = headers[header].decode()
    for name in ("actor", "resource"):
        if name in said:
            said[name] = present(said[name]) if isinstance(said[name], dict) else {"id": said[name]}
    said["context"] = context = present(said.get("context", {}))
    if "source_ip" in context:
        address = ipaddress.ip_address(context["source_ip"])
        context["source_ip"] = str(getattr(address, "ipv4_mapped", None) or address)
    said["changes"] = [present(change) for change in said.get("changes", [])]
    said |= {"timestamp": instant(said["timestamp"]), "schema_version": 1}
    return {name: part for name, part in said.items() if part or name not in ("context", "changes", "metadata")}


def check_shown(event: dict[str, Any], opened: Shown) -> bool:
    """Whether the event shown is of a format that is decoded here; raises where it is not what the record says."""
    headers = headers_of(opened)
    given = [name for name, value in opened.headers if value is not None]
    if any(given.count(name) > 1 for name in OWN_HEADERS):
        raise Tampered("the record is no event: it has one of Trailseal's headers twice")
    received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=opened.time_ms)
    said: dict[str, Any] = {"received_at": instant(received.isoformat()), "format": format_of(headers)}
    value = opened.value or b""
    if event.get("record", original := value.decode("utf-8", "surrogateescape")) != original:
        raise Tampered("the original shown is not the record's")
    shown = {name: part for name, part in event.items() if name not in ("position", "record")}
    native: bool = said["format"] == "native"
    if native:
        said = native_event(read_json(value), headers) | said
        said.setdefault("id", shown.get("id"))  # made from where the record stood
    for name in {*said, *shown} if native else {"seal", *said}:
        if not same(said.get(name), shown.get(name)):
            raise Tampered(f"the event shown is not the record's: {name} differs")
    return native


# --- what can be verified ---


def verify_receipt(data: bytes, keys: Keys) -> str:
    """C2SP tlog-proof."""
    head, _, note = decoded(data).partition("\n\n")
    label, extra, index, *proof = head.split("\n") + [""] * 2
    if label != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise Tampered("not a receipt")
    opening, at = strict_base64(extra.removeprefix("extra ")), decimal(index.removeprefix("index "))
    nodes = [strict_base64(line) for line in proof[:-2]]
    origin, size, root = keys.open(note)
    shown = check_opening(opening)
    check_inclusion(shown.entry, at, size, nodes, root)
    refuse_two_readings(shown)
    value = shown.value
    record = "" if value is None else f", {len(value)} bytes: {value.decode('utf-8', 'backslashreplace')}"
    return f"offset {shown.offset} of {origin} is leaf {at} of {size}{record}"


def refuse_two_readings(shown: Shown) -> None:
    """Of a native record, which need not be JSON, but where it is has no name twice in one object."""
    if format_of(headers_of(shown)) == "native":
        try:
            read_json(shown.value or b"")
        except TwoReadings:
            raise
        except (Tampered, RecursionError):
            pass


class Export:
    """An evidence file, verified as its lines come; nothing that is remembered grows with them, but for `rows`.

    Attributes:
        doubts: what could not be verified, each a sentence.
        rows: what was proved, where that is asked for.
    """

    def __init__(self, keys: Keys, rows: Rows | None = None) -> None:
        self.keys, self.rows = keys, rows
        self.doubts: list[str] = []
        self.opened: dict[tuple[int, int], Checkpoint] = {}  # by log and partition
        self.origins: list[str] = []
        self.count = self.unproved = self.undecoded = 0
        self.ended = False

    def read(self, lines: Iterable[bytes]) -> None:
        """All lines; raises at the first that does not hold."""
        digest = hashlib.sha256()
        for number, line in enumerate(lines, 1):
            try:
                self.read_line(number, line, digest.hexdigest)
            except Tampered as error:
                raise Tampered(f"line {number}: {error}") from error
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
                raise Tampered(f"line {number} is malformed ({type(error).__name__})") from error
            digest.update(line)
        if not self.ended:
            raise Tampered("the file breaks off: it has no end")
        if self.unproved:
            self.doubts.append(f"{self.unproved} rows have no proof: too new, or no --key of their log was given")
        if self.undecoded:
            self.doubts.append(
                f"{self.count} records are what was sealed; {self.undecoded} of them are in formats that are not"
                " decoded here, so the events shown beside those were not compared: `trailseal verify` does it"
            )

    def read_line(self, number: int, line: bytes, digest: Callable[[], str]) -> None:
        """One line, and the digest of all before it."""
        if self.ended:
            raise Tampered("something follows the end")
        if not line.endswith(b"\n"):
            raise Tampered("the file breaks off")
        body = read_json(line)
        if number == 1:
            self.read_manifest(body)
        elif line.startswith(b'{"end":'):
            self.read_end(body["end"], digest())
        else:
            self.read_row(body)

    def read_manifest(self, body: dict[str, Any]) -> None:
        """The checkpoints of logs that a key is known of; without one, a log counts only where a row is of it."""
        if whole(body["trailseal-evidence"]) != 1:
            raise Unverified("not an evidence file of version 1")
        places = []
        for log in typed(list, body["logs"]):
            place, note = (whole(log["log"]), whole(log["partition"])), typed(str, log["checkpoint"])
            if note.partition("\n")[0] != typed(str, log["origin"]):
                raise Tampered(f"the checkpoint said to be of {log['origin']} is of another log")
            places.append(place)
            self.origins.append(log["origin"])
            if any(key[0] == log["origin"] for key in self.keys.logs):
                try:
                    self.opened[place] = self.keys.open(note)
                except Unverified as error:
                    self.doubts.append(str(error))
        if not len({*places}) == len({*self.origins}) == len(places):
            raise Tampered("the manifest names a log twice")

    def read_row(self, row: dict[str, Any]) -> None:
        """That its record is in the tree of the manifest's checkpoint, and its event what the record says."""
        log, partition, place = (decimal(part) for part in typed(str, row["position"]).split("/"))
        index, event = whole(row["index"]), typed(dict, row["event"])
        shown = check_opening(strict_base64(typed(str, row["opening"])))
        if shown.offset != place or shown.value is None or event["position"] != row["position"]:
            raise Tampered(f"its record is of offset {shown.offset}, the row says {row['position']}")
        self.count += 1
        self.undecoded += not check_shown(event, shown)
        proof = row.get("proof")
        nodes = [] if proof is None else [strict_base64(typed(str, node)) for node in typed(list, proof)]
        if proof is None or (log, partition) not in self.opened:
            self.unproved += 1
            return
        origin, size, root = self.opened[log, partition]
        check_inclusion(shown.entry, index, size, nodes, root)
        if self.rows is not None:
            self.rows[origin, index] = shown.entry

    def read_end(self, end: dict[str, Any], digest: str) -> None:
        """That a log of the file signed for its being whole."""
        self.ended = True
        if whole(end["rows"]) != self.count or end["sha256"] != digest:
            raise Tampered("rows were added, dropped, changed or swapped")
        if end["note"] is None:
            self.doubts.append("the end is not signed by the log: rows could be missing")
            return
        known = [key for key in self.keys.logs if key[0] in self.origins and key[2] == 1]
        text, signers = check_signatures(end["note"], known)
        if text != f"trailseal-evidence/1\nrows {self.count}\nsha256 {digest}\n":
            raise Tampered("what was signed is another end")
        if not signers:
            self.doubts.append("no Ed25519 --key given signed the end: rows could be missing")


def verify_export(lines: Iterable[bytes], keys: Keys) -> str:
    """Every row of an evidence file."""
    export = Export(keys)
    export.read(lines)
    if export.doubts:
        raise Unverified("; ".join(export.doubts))
    return f"{export.count} rows are what was sealed"


def tile_path(index: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, all but the last with an x before them."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return "tile/entries/" + "/".join(groups) + ("" if width == WIDTH else f".p/{width}")


def fetcher(base: str, authorization: str | None) -> Callable[[str], bytes]:
    """Reads below a URL or a folder."""

    def fetch(path: str) -> bytes:
        try:
            if not base.startswith(("http://", "https://")):
                return (Path(base) / path).read_bytes()
            headers = {"Authorization": authorization} if authorization else {}
            asked = urllib.request.Request(f"{base.rstrip('/')}/{path}", headers=headers)  # noqa: S310 - http(s) only
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - the same
                data: bytes = answer.read()
                return data
        except (OSError, urllib.error.URLError) as error:
            raise Unverified(f"{path} cannot be read: {error}") from error

    return fetch


def entries_of(fetch: Callable[[str], bytes], size: int) -> Iterator[bytes]:
    """All entries, bundle by bundle."""
    for number in range(-(-size // WIDTH)):
        width = min(WIDTH, size - number * WIDTH)
        bundle, at = fetch(tile_path(number, width)), 0
        for _ in range(width):
            (length,) = struct.unpack_from(">H", bundle.ljust(at + 2, b"\0"), at)
            if at + 2 + length > len(bundle):
                raise Tampered(f"bundle {number} is cut off")
            yield bundle[at + 2 : at + 2 + length]
            at += 2 + length


def verify_tree(fetch: Callable[[str], bytes], keys: Keys, old: list[Checkpoint], export: Export | None) -> str:
    """The whole tree against its checkpoint, older checkpoints, and the rows and checkpoints of an export."""
    origin, size, root = keys.open(decoded(fetch("checkpoint")))
    rows, doubts, pinned = (
        ({}, [], []) if export is None else (export.rows or {}, export.doubts, export.opened.values())
    )
    promised: dict[int, set[bytes]] = {}  # roots by size
    for earlier in (*old, *(one for one in pinned if one[0] == origin)):
        if earlier[0] != origin or earlier[1] > size:
            raise Tampered(
                f"{earlier[0]} had {earlier[1]} leaves; {origin} has {size}: rolled back, or another log"
            )
        promised.setdefault(earlier[1], set()).add(earlier[2])
    tree = Tree()
    for index, entry in enumerate(entries_of(fetch, size)):
        check_promised(tree, promised)
        if rows.get((origin, index), entry) != entry:
            raise Tampered(f"leaf {index} of the tree is not that of its row")
        tree.add(entry)
    check_promised(tree, promised)
    if tree.size != size or tree.root() != root:
        raise Tampered("the entries do not give the checkpoint's root")
    here = sum(of == origin for of, _ in rows)
    if here < len(rows):
        doubts.append(f"{len(rows) - here} rows are of other logs, which were not looked at")
    covered = f"{size} leaves of {origin} give the signed root" + (
        f", {here} of them shown in rows" if rows else ""
    )
    if doubts:
        raise Unverified("; ".join([covered, *doubts]))
    return covered


def check_promised(tree: Tree, promised: dict[int, set[bytes]]) -> None:
    """That the tree has the roots that were signed for its size."""
    if tree.size in promised and promised[tree.size] != {tree.root()}:
        raise Tampered(f"the log forked: its first {tree.size} leaves are not those of an older checkpoint")


def fail(text: str, status: int) -> NoReturn:
    """End with a sentence and a status."""
    sys.stderr.write(text + "\n")
    sys.exit(status)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", help="a receipt, an export with proofs, or a URL or folder with a checkpoint and tiles"
    )
    parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="a log's public key")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness's public key")
    parser.add_argument("--quorum", type=int, help="witnesses needed; default: all that are named")
    parser.add_argument("--old", metavar="FILE", help="a checkpoint kept from an earlier visit")
    parser.add_argument("--rows", metavar="FILE", help="an export whose rows must be in the tree")
    parser.add_argument("--authorization", help="sent to the URL, for example 'Bearer ts_…'")
    given = parser.parse_args()
    try:
        sys.stdout.write(run(given) + "\n")
    except Unverified as error:
        fail(f"COULD NOT VERIFY: {error}", 2)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"COULD NOT VERIFY: {error}", 2)
    except (Tampered, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        fail(f"TAMPERED: {error}", 1)


def run(given: argparse.Namespace) -> str:
    """Verify what was named; what holds, in a sentence."""
    keys = Keys(given.key, given.witness, given.quorum)
    if given.what.startswith(("http://", "https://")) or Path(given.what).is_dir():
        fetch, old, export = fetcher(given.what, given.authorization), [], None
        if given.old is not None:
            old.append(keys.open(Path(given.old).read_text("utf-8")))
        if given.rows is not None:
            export = Export(keys, {})
            with Path(given.rows).open("rb") as lines:
                export.read(lines)
        return verify_tree(fetch, keys, old, export)
    with Path(given.what).open("rb") as stream:
        if stream.read(8) == b"c2sp.org":
            return verify_receipt(Path(given.what).read_bytes(), keys)
        stream.seek(0)
        return verify_export(stream, keys)


if __name__ == "__main__":
    main()
