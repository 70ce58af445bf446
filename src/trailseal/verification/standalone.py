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
RECORD = 1  # the type of an entry that stands for a record
KEY_SIZES = {1: 32, 4: 32, 6: 1312}  # bytes of a public key: Ed25519, the same for witnesses, ML-DSA-44
Key = tuple[str, bytes, int, bytes]  # name, key id, type, public key
Opened = dict[tuple[int, int], tuple[str, int, bytes]]  # (log, partition) -> origin, size, root
OnRow = Callable[[str, int, bytes], None]  # gets origin, leaf index and entry of a row that was proved


class Tampered(Exception):
    """Something is not what was sealed."""


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
    typed = strict_base64(encoded)
    key_id = sha256(name.encode() + b"\n" + typed)[:4]
    if not name or key_id.hex() != shown or len(typed) != 1 + KEY_SIZES.get(typed[0] if typed else 0, 0):
        raise Unverified(f"{vkey!r} is no verifier key of a type that is known here")
    return name, key_id, typed[0], typed[1:]


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and name and bytes (key id and signature) of each signature line."""
    text, blank, below = note.rpartition("\n\n")
    if not blank or not below.endswith("\n"):
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

    def open(self, note: str) -> tuple[str, int, bytes]:
        """Origin, size and root of a checkpoint that its log signed and enough witnesses cosigned."""
        origin = note.partition("\n")[0]
        text, signers = check_signatures(note, [key for key in self.logs if key[0] == origin and key[2] != 4])
        if not signers:
            raise Unverified(f"no --key given signed the checkpoint of {origin}")
        _, cosigners = check_signatures(note, [key for key in self.witnesses if key[0] != origin and key[2] != 1])
        if len(cosigners) < self.quorum:
            raise Unverified(f"{len(cosigners)} of the witnesses cosigned {origin}, {self.quorum} are needed")
        lines = text.split("\n")
        if len(lines) < 4 or not lines[1].isdecimal() or lines[1] != str(int(lines[1])):
            raise Tampered("not a checkpoint")
        return origin, int(lines[1]), strict_base64(lines[2])


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
            headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
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
    if not frame:
        return Shown(entry, offset)
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


def format_of(headers: dict[str, bytes | None]) -> str:
    """The format of a record: named by Trailseal's own header, or by those of CloudEvents in Kafka."""
    named = headers.get("trailseal-format")
    if named is not None:
        return named.decode()
    media = (headers.get("content-type") or b"").lower()
    is_cloudevent = "ce_specversion" in headers or media.startswith(b"application/cloudevents+json")
    return "cloudevents" if is_cloudevent else "native"


def native_event(body: dict[str, Any], headers: dict[str, bytes | None]) -> dict[str, Any]:
    """What a record of the native format says, as events show it."""
    said: dict[str, Any] = {"tenant_id": "default", "outcome": "success"} | present(body)
    for name, header in (("id", "trailseal-id"), ("tenant_id", "trailseal-tenant")):
        if (value := headers.get(header)) is not None:
            said[name] = value.decode()
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
    headers = dict(opened.headers)
    received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=opened.time_ms)
    said: dict[str, Any] = {"received_at": instant(received.isoformat()), "format": format_of(headers)}
    shown = {name: part for name, part in event.items() if name not in ("position", "record", "seal")}
    original = (opened.value or b"").decode("utf-8", "surrogateescape")
    if event.get("record", original) != original:
        raise Tampered("the original shown is not the record's")
    native: bool = said["format"] == "native"
    if native:
        said = native_event(json.loads(original), headers) | said
        said.setdefault("id", shown.get("id"))  # made from where the record stood
    for name in {*said, *shown} if native else said:
        # as texts: in Python True == 1
        if json.dumps(said.get(name), sort_keys=True) != json.dumps(shown.get(name), sort_keys=True):
            raise Tampered(f"the event shown is not the record's: {name} differs")
    return native


# --- what can be verified ---


def verify_receipt(data: bytes, keys: Keys) -> str:
    """C2SP tlog-proof."""
    head, _, note = data.decode().partition("\n\n")
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) < 3 or not lines[1].startswith("extra "):
        raise Tampered("not a receipt")
    index = int(lines[2].removeprefix("index "))
    origin, size, root = keys.open(note)
    entry, offset, _, value, _ = check_opening(strict_base64(lines[1].removeprefix("extra ")))
    check_inclusion(entry, index, size, [strict_base64(line) for line in lines[3:]], root)
    shown = "" if value is None else f", {len(value)} bytes: {value.decode('utf-8', 'backslashreplace')}"
    return f"offset {offset} of {origin} is leaf {index} of {size}{shown}"


def verify_export(lines: Iterable[bytes], keys: Keys, on_row: OnRow) -> str:
    """Every row of an evidence file."""
    digest, rows, unproved, undecoded, end = hashlib.sha256(), 0, 0, 0, None
    logs: list[str] = []
    opened: Opened = {}
    for number, line in enumerate(lines, 1):
        try:
            body = json.loads(line)
        except ValueError as error:
            raise Tampered(f"line {number} is no JSON") from error
        if end is not None:
            raise Tampered("something follows the end")
        if number == 1:
            if body.get("trailseal-evidence") != 1:
                raise Unverified("not an evidence file of version 1")
            logs, opened = [log["origin"] for log in body["logs"]], open_manifest(body["logs"], keys)
        elif line.startswith(b'{"end":'):
            (end,) = body.values()
            if end["rows"] != rows or end["sha256"] != digest.hexdigest():
                raise Tampered("rows were added, dropped, changed or swapped")
        else:
            proved, decoded = verify_row(number, body, opened, on_row)
            rows, unproved, undecoded = rows + 1, unproved + (not proved), undecoded + (not decoded)
        digest.update(line)
    check_end(end, rows, [key for key in keys.logs if key[0] in logs and key[2] == 1])
    if unproved:
        raise Unverified(f"{unproved} rows have no proof: too new to be signed, or no --key of their log was given")
    if undecoded:
        raise Unverified(
            f"{rows} records are what was sealed; {undecoded} of them are in formats that are not decoded here, so"
            " the events shown beside those were not compared with them: `trailseal verify` does it"
        )
    return f"{rows} rows are what was sealed"


def open_manifest(logs: list[dict[str, Any]], keys: Keys) -> Opened:
    """The checkpoints of those logs that a key is known of; without one, a log counts only where a row is of it."""
    opened: Opened = {}
    for log in logs:
        if any(key[0] == log["origin"] for key in keys.logs):
            opened[log["log"], log["partition"]] = checkpoint = keys.open(log["checkpoint"])
            if checkpoint[0] != log["origin"]:
                raise Tampered(f"the checkpoint said to be of {log['origin']} is of {checkpoint[0]}")
    return opened


def check_end(end: dict[str, Any] | None, rows: int, keys: list[Key]) -> None:
    """That a log of the file signed for its being whole."""
    if end is None:
        raise Tampered("the file breaks off: it has no end")
    if end["note"] is None:
        raise Unverified("the end is not signed by the log: rows could be missing")
    text, signers = check_signatures(end["note"], keys)
    if text != f"trailseal-evidence/1\nrows {rows}\nsha256 {end['sha256']}\n":
        raise Tampered("what was signed is another end")
    if not signers:
        raise Unverified("no Ed25519 --key given signed the end: rows could be missing")


def verify_row(number: int, row: dict[str, Any], opened: Opened, on_row: OnRow) -> tuple[bool, bool]:
    """Whether its record is proved, and its event compared with it; raises where it does not hold together."""
    try:
        return prove_row(row, opened, on_row)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Tampered(f"line {number} is no row ({type(error).__name__})") from error
    except Tampered as error:
        raise Tampered(f"line {number}: {error}") from error


def prove_row(row: dict[str, Any], opened: Opened, on_row: OnRow) -> tuple[bool, bool]:
    """The same, without the line's number."""
    log, partition, place = (int(part) for part in row["position"].split("/"))
    shown = check_opening(strict_base64(row["opening"]))
    if shown.offset != place or shown.value is None or row["event"]["position"] != row["position"]:
        raise Tampered(f"its record is of offset {shown.offset}, the row says {row['position']}")
    decoded = check_shown(row["event"], shown)
    if row.get("proof") is None or (log, partition) not in opened:
        return False, decoded
    origin, size, root = opened[log, partition]
    check_inclusion(shown.entry, row["index"], size, [strict_base64(node) for node in row["proof"]], root)
    on_row(origin, row["index"], shown.entry)
    return True, decoded


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


def verify_tree(
    fetch: Callable[[str], bytes], keys: Keys, old: str | None, rows: dict[tuple[str, int], bytes]
) -> str:
    """The whole tree against its checkpoint, an older checkpoint and rows that were proved."""
    origin, size, root = keys.open(fetch("checkpoint").decode())
    earlier = None if old is None else keys.open(old)
    if earlier is not None and (earlier[0] != origin or earlier[1] > size):
        raise Tampered(f"{earlier[0]} had {earlier[1]} leaves; {origin} has {size}: rolled back, or another log")
    tree = Tree()
    for index, entry in enumerate(entries_of(fetch, size)):
        if earlier is not None and tree.size == earlier[1] and tree.root() != earlier[2]:
            break
        if rows.get((origin, index), entry) != entry:
            raise Tampered(f"leaf {index} of the tree is not that of its row")
        tree.add(entry)
    if earlier is not None and tree.size == earlier[1] and tree.root() != earlier[2]:
        raise Tampered(f"the log forked: its first {earlier[1]} leaves are not those of the older checkpoint")
    if tree.size != size or tree.root() != root:
        raise Tampered("the entries do not give the checkpoint's root")
    covered = f", {len(rows)} of them shown in rows" if rows else ""
    return f"{size} leaves of {origin} give the signed root{covered}"


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
        fetch, rows = fetcher(given.what, given.authorization), {}
        if given.rows is not None:
            with Path(given.rows).open("rb") as lines:
                verify_export(lines, keys, lambda origin, index, entry: rows.update({(origin, index): entry}))
        return verify_tree(fetch, keys, None if given.old is None else Path(given.old).read_text(), rows)
    with Path(given.what).open("rb") as stream:
        if stream.read(8) == b"c2sp.org":
            return verify_receipt(Path(given.what).read_bytes(), keys)
        stream.seek(0)
        return verify_export(stream, keys, lambda *_: None)


if __name__ == "__main__":
    main()
