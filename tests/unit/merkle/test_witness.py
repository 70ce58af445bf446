from __future__ import annotations

from functools import cache
from http import HTTPStatus

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import InvalidEncoding, InvalidProof, MerkleError
from trailseal.merkle.hash import EMPTY_ROOT, leaf_hashes, range_root
from trailseal.merkle.notes import Algorithm, Note, encode_base64, parse_signatures
from trailseal.merkle.proofs import prove_consistency, verify_consistency
from trailseal.merkle.signing import SeedSigner, sign_note, verify_note
from trailseal.merkle.witness import AddCheckpoint, TreeHead, Verdict, cosign, decide
from unit.merkle.recursive_tree import numbered_entries

ORIGIN = "audit.example/log"
LOG = SeedSigner(ORIGIN, Algorithm.ED25519, bytes(32))
STRANGER = SeedSigner(ORIGIN, Algorithm.ED25519, b"\x07" * 32)
WITNESS_KEYS = [
    SeedSigner("witness.example/w1", Algorithm.COSIGNATURE_ED25519, b"\x02" * 32),
    SeedSigner("witness.example/w1", Algorithm.COSIGNATURE_ML_DSA_44, b"\x03" * 32),
]
LOGS = {ORIGIN: [LOG.key]}
NOW = 1_700_000_000
MOST = 40

# Two histories that part after 12 leaves: what a forking log would offer.
HONEST = leaf_hashes(numbered_entries(MOST))
FORKED = [*HONEST[:12], *leaf_hashes([b"forged %d" % number for number in range(MOST - 12)])]
HISTORIES = (HONEST, FORKED)


@cache
def tree_hash(history: int, start: int, stop: int) -> bytes:
    return range_root(HISTORIES[history][start:stop])


def head(size: int, history: int = 0) -> TreeHead:
    return TreeHead(size, tree_hash(history, 0, size))


def proof(first: int, second: int, history: int = 0) -> tuple[bytes, ...]:
    return tuple(prove_consistency(lambda start, stop: tree_hash(history, start, stop), first, second))


def request(  # the parts of a request, each to be spoiled by itself
    old: int,
    size: int,
    *,
    history: int = 0,
    signer: SeedSigner = LOG,
    root: bytes | None = None,
    nodes: tuple[bytes, ...] | None = None,
) -> bytes:
    text = Checkpoint(ORIGIN, size, EMPTY_ROOT).format() if size == 0 and root is None else None
    tree_root = tree_hash(history, 0, size) if root is None else root
    text = text or f"{ORIGIN}\n{size}\n{encode_base64(tree_root)}\n"
    path = proof(old, size, history) if nodes is None else nodes
    return AddCheckpoint(old, path, sign_note(text, [signer], NOW)).to_bytes()


def ask(body: bytes, known: TreeHead) -> Verdict:
    return decide(body, LOGS, {ORIGIN: known}.__getitem__)


def test_a_consistent_checkpoint_is_cosigned_by_every_key_of_the_witness() -> None:
    verdict = ask(request(5, 9), head(5))
    assert verdict.status is HTTPStatus.OK
    assert verdict.state == head(9)
    assert verdict.note is not None
    lines = parse_signatures(cosign(verdict, WITNESS_KEYS, NOW))
    verified = verify_note(verdict.note.with_signatures(lines), [signer.key for signer in WITNESS_KEYS])
    assert [one.time for one in verified] == [NOW, NOW]


def test_the_first_checkpoint_of_a_log_is_cosigned_without_a_proof() -> None:
    assert ask(request(0, 9), TreeHead()).state == head(9)
    assert ask(request(0, 9, nodes=(bytes(32),)), TreeHead()).status is HTTPStatus.UNPROCESSABLE_ENTITY


def test_the_same_checkpoint_is_cosigned_again() -> None:
    verdict = ask(request(9, 9), head(9))
    assert verdict.status is HTTPStatus.OK
    assert verdict.state == head(9)


def test_another_old_size_is_answered_with_the_known_one() -> None:
    verdict = ask(request(5, 9), head(7))
    assert verdict.status is HTTPStatus.CONFLICT
    assert verdict.known_size == 7
    assert verdict.state is None


def test_an_old_size_above_the_checkpoints_is_a_bad_request() -> None:
    assert ask(request(9, 5, nodes=()), head(9)).status is HTTPStatus.BAD_REQUEST


def test_a_fork_a_rollback_and_a_false_proof_are_not_cosigned() -> None:
    fork = ask(request(20, 30, history=1), head(20))
    assert fork.status is HTTPStatus.UNPROCESSABLE_ENTITY
    assert fork.note is not None, "the signed evidence of the fork is kept"
    same_size = ask(request(20, 20, history=1), head(20))
    assert same_size.status is HTTPStatus.UNPROCESSABLE_ENTITY
    rollback = ask(request(5, 9), head(20))
    assert rollback.status is HTTPStatus.CONFLICT
    cut = ask(request(5, 9, nodes=proof(5, 9)[:-1]), head(5))
    assert cut.status is HTTPStatus.UNPROCESSABLE_ENTITY


def test_an_empty_tree_has_the_empty_root() -> None:
    assert ask(request(0, 0), TreeHead()).status is HTTPStatus.OK
    assert ask(request(0, 0, root=bytes(32)), TreeHead()).status is HTTPStatus.UNPROCESSABLE_ENTITY


def test_an_unknown_log_is_not_found() -> None:
    verdict = decide(request(0, 9), {"audit.example/other": [LOG.key]}, lambda _origin: TreeHead())
    assert verdict.status is HTTPStatus.NOT_FOUND


def test_a_checkpoint_without_the_logs_good_signature_is_forbidden() -> None:
    assert ask(request(0, 9, signer=STRANGER), TreeHead()).status is HTTPStatus.FORBIDDEN
    text = Checkpoint(ORIGIN, 9, tree_hash(0, 0, 9)).format()
    other = LOG.sign(Checkpoint(ORIGIN, 8, tree_hash(0, 0, 8)).format(), NOW)
    body = AddCheckpoint(0, (), Note(text, (other,))).to_bytes()
    assert ask(body, TreeHead()).status is HTTPStatus.FORBIDDEN


def test_the_state_of_a_log_is_not_looked_up_for_strangers() -> None:
    def refuse(_origin: str) -> TreeHead:
        raise AssertionError

    assert decide(request(0, 9, signer=STRANGER), LOGS, refuse).status is HTTPStatus.FORBIDDEN


GOOD = request(5, 9)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        GOOD[: GOOD.index(b"\n\n")],
        GOOD.replace(b"old 5", b"old 05"),
        GOOD.replace(b"old 5", b"old -5"),
        GOOD.replace(b"old 5", b"old  5"),
        GOOD.replace(b"old 5", b"Old 5"),
        GOOD.replace(b"old 5\n", b"old 5\nAAAA\n"),
        GOOD.replace(b"old 5\n", b"old 5\n!\n"),
        GOOD.replace(b"old 5\n", b"old 5\n" + (encode_base64(bytes(32)) + "\n").encode() * 62),
        GOOD[:-1],
        GOOD.replace(b"\n9\n", b"\n09\n"),
        GOOD + b"\n",
        b"old 5\n" + GOOD,
    ],
)
def test_a_request_that_cannot_be_read_is_a_bad_request(body: bytes) -> None:
    assert ask(body, head(5)).status is HTTPStatus.BAD_REQUEST


def test_a_request_is_read_back_and_63_proof_lines_are_allowed() -> None:
    longest = AddCheckpoint(5, (bytes(32),) * 63, Note.parse(sign_note(TEXT, [LOG], NOW).to_bytes()))
    assert AddCheckpoint.parse(longest.to_bytes()) == longest
    with pytest.raises(InvalidEncoding):
        AddCheckpoint(5, (bytes(32),) * 64, longest.note).to_bytes()


TEXT = Checkpoint(ORIGIN, 9, tree_hash(0, 0, 9)).format()


def test_nothing_but_a_verdict_to_cosign_is_cosigned() -> None:
    for body, known in ((b"", head(5)), (GOOD, head(7)), (request(20, 30, history=1), head(20))):
        with pytest.raises(InvalidProof):
            cosign(ask(body, known), WITNESS_KEYS, NOW)


def test_no_bit_of_a_request_can_be_flipped() -> None:
    for at in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[at // 8] ^= 1 << at % 8
        try:
            verdict = ask(bytes(flipped), head(5))
        except (MerkleError, KeyError) as error:  # pragma: no cover - decide answers, it never raises
            raise AssertionError from error
        assert verdict.status is not HTTPStatus.OK


class WitnessUnderAttack(RuleBasedStateMachine):
    """A log that holds the signing key and tries everything; the witness keeps one history."""

    def __init__(self) -> None:
        super().__init__()
        self.state = TreeHead()
        self.cosigned: list[TreeHead] = []

    def offer(self, body: bytes) -> None:
        verdict = ask(body, self.state)
        if verdict.status is HTTPStatus.OK:
            assert verdict.state is not None
            assert cosign(verdict, WITNESS_KEYS[:1], NOW)
            self.state = verdict.state
            self.cosigned.append(verdict.state)
        else:
            assert verdict.state is None

    @rule(size=st.integers(0, MOST), history=st.integers(0, 1))
    def offer_the_next_size_of_a_history(self, size: int, history: int) -> None:
        if size >= self.state.size:
            self.offer(request(self.state.size, size, history=history))

    @rule(old=st.integers(0, MOST), size=st.integers(0, MOST), history=st.integers(0, 1))
    def offer_anything(self, old: int, size: int, history: int) -> None:
        nodes = proof(old, size, history) if old <= size else ()
        self.offer(request(old, size, history=history, nodes=nodes))

    @rule(size=st.integers(1, MOST), nodes=st.lists(st.binary(min_size=32, max_size=32), max_size=5))
    def offer_a_made_up_proof(self, size: int, nodes: list[bytes]) -> None:
        self.offer(request(self.state.size, size, root=b"\x05" * 32, nodes=tuple(nodes)))

    @invariant()
    def no_size_has_two_roots(self) -> None:
        roots = dict.fromkeys((one.size, one.root) for one in self.cosigned)
        assert len({size for size, _ in roots}) == len(roots)

    @invariant()
    def it_never_goes_back(self) -> None:
        sizes = [one.size for one in self.cosigned]
        assert sizes == sorted(sizes)

    @invariant()
    def all_it_cosigned_after_the_first_is_one_history(self) -> None:
        real = [one for one in self.cosigned if one.size and one.root != b"\x05" * 32]
        for history in (0, 1):
            if real and real[-1] == head(real[-1].size, history):
                last = real[-1].size
                for one in real:
                    path = proof(one.size, last, history)
                    verify_consistency(one.size, last, path, one.root, real[-1].root)


WitnessUnderAttack.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAWitnessUnderAttack = WitnessUnderAttack.TestCase
