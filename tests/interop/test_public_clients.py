"""Clients of other transparency logs read a Trailseal log; a verifier made from the page alone agrees with ours."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from flow.evidence_edits import BARE, FORGED, RICH, Lines, forged, mended
from flow.running import until
from flow.sealing import NOW, witness
from flow.test_commands import trailseal
from flow.test_http_up import ask, event, free_port, up
from flow.test_standalone_verifier import ATTACKS, status_of
from interop.public_client import PublicClient, built, fetch, lying
from trailseal.merkle.notes import VerifierKey
from trailseal.sealing.witness_folder import WitnessFolder
from trailseal.verification.files import EvidenceCheck, check_receipt
from trailseal.verification.trust import trust_from

pytestmark = pytest.mark.crash
IMPORTED = 65_800
"""More than fill a tile of level 1, which spans 65,536 leaves, and begin the next one."""
RECORDS = IMPORTED + 5
"""With those that are made one by one, and the order of an erasure."""
LARGE = event("large") | {"timestamp": "2026-03-01T00:00:00Z", "metadata": {"text": "x" * 60_000}}
CLOUDTRAIL = {
    "eventVersion": "1.08",
    "eventID": "00000000-0000-0000-0000-000000000001",
    "eventTime": "2026-03-01T08:00:00Z",
    "eventName": "StopLogging",
    "eventSource": "cloudtrail.amazonaws.com",
    "userIdentity": {"type": "IAMUser", "userName": "mallory", "arn": "arn:aws:iam::1:user/mallory"},
    "recipientAccountId": "1",
}
PAGE = Path(__file__).parents[2] / "docs/reference/seal-format.md"


@dataclass(frozen=True)
class Audited:
    """A running system, sealed and cosigned."""

    data: Path
    server: str
    vkeys: str
    witness: WitnessFolder
    witness_url: str

    @property
    def witness_vkeys(self) -> str:
        return vkeys_of(self.witness)

    def receipt(self, event_id: str, tenant: str) -> bytes:
        return fetch(f"{self.server}/events/{event_id}/proof?tenant_id={tenant}")

    def export(self, target: Path, *filters: str) -> Lines:
        done = trailseal("export", "--with-proofs", *filters, "-o", str(target), data=self.data)
        assert done.returncode == 0, done.stderr
        return target.read_bytes().splitlines(keepends=True)


def vkeys_of(witness: WitnessFolder) -> str:
    return " ".join(key.vkey() for key in witness.keys)


def ndjson(first: int, beyond: int) -> bytes:
    return b"\n".join(json.dumps(event(f"e{number}")).encode() for number in range(first, beyond))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> PublicClient:
    return built(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def audited(client: PublicClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:  # noqa: ARG001 - first whether it can be used
    folder = tmp_path_factory.mktemp("audited")
    data, port = folder / "data", free_port()
    half = IMPORTED // 2
    assert trailseal("import", "-", data=data, stdin=ndjson(0, half)).returncode == 0
    assert trailseal("keys", "make", "--post-quantum", data=data).returncode == 0
    rest = ndjson(half, IMPORTED) + b"\n" + json.dumps(CLOUDTRAIL).encode()
    assert trailseal("import", "-", data=data, stdin=rest).returncode == 0
    vkeys = trailseal("keys", "show", data=data).stdout.decode()
    with witness(folder / "witness", post_quantum=True) as (made, reached):
        made.watch(vkeys.split())
        settings = folder / "trailseal.toml"
        settings.write_text(f'witnesses = "{reached.url} {vkeys_of(made)}"\n')
        with up(data, port, "--config", str(settings)):
            for body in (BARE, RICH, LARGE):
                assert ask(port, "POST", "/events", body)[1]["accepted"] == 1
            erase = ("--tenant", "default", "--event-id", "e5", "--reason", "ticket 12", "--yes")
            assert trailseal("erase", *erase, data=data).returncode == 0
            server = f"http://127.0.0.1:{port}"
            until(lambda: cosigned_size(server, made.keys[0]) == RECORDS + 1, "a cosignature over everything")
            yield Audited(data, server, vkeys, made, reached.url)


def cosigned_size(server: str, key: VerifierKey) -> int:
    note = fetch(f"{server}/integrity/logs/1/0/checkpoint").decode()
    return int(note.split("\n")[1]) if f"\n— {key.name} " in note else 0


def test_they_read_the_whole_log_its_tiles_proofs_and_cosignature(client: PublicClient, audited: Audited) -> None:
    summary = client.summary("log", audited.server, f"{audited.vkeys} {audited.witness_vkeys}")
    assert summary["size"] == RECORDS + 1
    assert summary["entries"] == {"genesis": 1, "record": RECORDS}
    assert summary["cosigned_by"] == [key.name for key in audited.witness.keys], "by both of its keys"
    assert len(summary["older"]) >= 2, "signed checkpoints of other ages were there"
    assert summary["older"][0] < 40_000 < summary["older"][-1]
    assert summary["receipts"] == 5


def test_either_key_of_the_log_is_enough_for_them(client: PublicClient, audited: Audited) -> None:
    for vkey in audited.vkeys.split():
        client.summary("log", audited.server, f"{vkey} {audited.witness_vkeys}")


def test_without_the_log_s_or_the_witness_s_key_nothing_is_proved(client: PublicClient, audited: Audited) -> None:
    other = client.summary("key", audited.vkeys.split("+")[0])["vkey"]
    stranger = WitnessFolder.make(audited.data.parent / "stranger", audited.witness.keys[0].name, NOW)
    for vkeys in (f"{other} {audited.witness_vkeys}", f"{audited.vkeys} {vkeys_of(stranger)}"):
        status, _, complaint = client.run("log", audited.server, vkeys)
        assert status == 2, complaint


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("/tile/entries/255", 60),
        (f"/tile/0/257.p/{(RECORDS + 1) % 256}", 40),
        ("/tile/1/000", 8_000),
        ("/tile/1/001.p/1", 3),
        ("/tile/2/000.p/1", 0),
    ],
)
def test_they_find_a_bit_that_the_server_flips(client: PublicClient, audited: Audited, path: str, at: int) -> None:
    asked = []

    def lie(where: str, body: bytes) -> bytes:
        if not where.endswith(path):
            return body
        asked.append(where)
        return flipped(body, at)

    with lying(audited.server, lie) as liar:
        status, _, complaint = client.run("log", liar, f"{audited.vkeys} {audited.witness_vkeys}")
    assert asked, "it was read"
    assert status == 1, complaint


def test_a_genesis_that_leaf_0_does_not_commit_to_is_found(client: PublicClient, audited: Audited) -> None:
    with lying(audited.server, lambda _, body: body.replace(b"reason first", b"reason other")) as liar:
        status, _, complaint = client.run("log", liar, f"{audited.vkeys} {audited.witness_vkeys}")
    assert (status, "genesis" in complaint) == (1, True)


def written(path: Path, body: bytes) -> str:
    path.write_bytes(body)
    return str(path)


def test_a_receipt_holds_and_a_changed_one_is_refused(
    client: PublicClient, audited: Audited, tmp_path: Path
) -> None:
    rng = random.Random(3)
    trust = trust_from([audited.vkeys], [], None, [])
    for event_id, tenant in (("rich", "acme"), ("e0", "default"), ("large", "default")):
        receipt = audited.receipt(event_id, tenant)
        target = tmp_path / "receipt"
        summary = client.summary("receipt", written(target, receipt), audited.vkeys)
        assert event_id in summary["value"]
        assert check_receipt(receipt, trust).verified == 1
        for _ in range(40):
            changed = flipped(receipt, rng.randrange(receipt.rindex(b"\n\n")))
            assert check_receipt(changed, trust).verified == 0
            assert client.run("receipt", written(target, changed), audited.vkeys)[0] in (1, 2)


@pytest.fixture(scope="module")
def exported(audited: Audited) -> Lines:
    """Evidence of a dozen plain events, the bare one and the rich one."""
    names = ["id=bare", "id=rich", *(f"id=e{number}" for number in range(100, 112))]
    return audited.export(audited.data.parent / "evidence.ndjson", "--order", "asc", *names)


@pytest.mark.parametrize(
    "attack", [*ATTACKS, mended, *(partial(forged, name=name, value=value) for name, value in FORGED)]
)
def test_its_verdict_on_evidence_is_ours(
    client: PublicClient,
    audited: Audited,
    exported: Lines,
    tmp_path: Path,
    attack: Callable[[Lines], Lines],
) -> None:
    lines = attack(exported)
    trust = trust_from([audited.vkeys], [], None, [])
    expected = status_of(EvidenceCheck(trust).run(lines))
    assert expected == (0 if lines == exported else 2 if attack is mended else 1)
    status, _, complaint = client.run("evidence", written(tmp_path / "evidence", b"".join(lines)), audited.vkeys)
    assert status == expected, complaint


def test_no_flipped_bit_in_a_row_passes_it(
    client: PublicClient, audited: Audited, exported: Lines, tmp_path: Path
) -> None:
    rng = random.Random(5)
    trust = trust_from([audited.vkeys], [], None, [])
    for _ in range(60):
        place = rng.randrange(len(exported) - 1)
        line = flipped(exported[place], rng.randrange(len(exported[place]) - 1))
        lines = mended([*exported[:place], line, *exported[place + 1 :]])
        assert status_of(EvidenceCheck(trust).run(lines)) != 0
        status, _, _ = client.run("evidence", written(tmp_path / "evidence", b"".join(lines)), audited.vkeys)
        assert status in (1, 2)


def test_the_command_says_the_same_of_the_file(client: PublicClient, audited: Audited, exported: Lines) -> None:
    target = audited.data.parent / "shown.ndjson"
    for lines, expected in ((exported, 0), ([*exported[:3], *exported[4:]], 1), (exported[:-1], 1)):
        path = written(target, b"".join(lines))
        assert client.run("evidence", path, audited.vkeys)[0] == expected
        assert trailseal("verify", path, "--key", audited.vkeys, data=audited.data).returncode == expected


def test_an_order_of_removal_is_read_as_the_page_says(
    client: PublicClient, audited: Audited, tmp_path: Path
) -> None:
    target = tmp_path / "orders.ndjson"
    audited.export(target, "tenant_id=_trailseal")
    summary = client.summary("evidence", str(target), audited.vkeys)
    assert summary["orders"] == [{"kind": "erase", "offsets": ["5-5"]}]


def test_it_says_which_formats_it_does_not_read(client: PublicClient, audited: Audited, tmp_path: Path) -> None:
    target = tmp_path / "foreign.ndjson"
    lines = audited.export(target, "action=StopLogging")
    assert status_of(EvidenceCheck(trust_from([audited.vkeys], [], None, [])).run(lines)) == 0
    status, _, complaint = client.run("evidence", str(target), audited.vkeys)
    assert (status, "cloudtrail" in complaint) == (2, True)


def test_a_client_of_theirs_is_cosigned_by_our_witness(client: PublicClient, audited: Audited) -> None:
    made = client.summary("key", "log.example/go")
    audited.witness.watch([made["vkey"]])
    answers = client.summary("witness", audited.witness_url, audited.witness_vkeys, made["skey"])
    assert {200, 400, 403, 404, 409, 422} == set(answers.values())


def test_it_reads_the_receipt_on_the_page(client: PublicClient, tmp_path: Path) -> None:
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (receipt,) = (block for block in blocks if block.startswith("c2sp.org/tlog-proof@v1"))
    (vkeys,) = (block for block in blocks if block.startswith("audit.example/demo/1+"))
    summary = client.summary("receipt", written(tmp_path / "receipt", receipt.encode()), vkeys)
    assert summary["value"] == '{"a":1}'
    assert sorted(summary["signed_by"]) == ["audit.example/demo/1", "witness.example/w1"]
