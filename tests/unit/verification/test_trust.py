"""Which keys an auditor may name as whose."""

from __future__ import annotations

import pytest

from trailseal.errors import UsageError
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner
from trailseal.verification.trust import trust_from

LOG, WITNESS = "audit.example/log/1", "witness.example/1"
SIGNS, COSIGNS, EITHER = Algorithm.ED25519, Algorithm.COSIGNATURE_ED25519, Algorithm.COSIGNATURE_ML_DSA_44


def vkey(name: str, algorithm: Algorithm, seed: int | None = None) -> str:
    chosen = len(name) if seed is None else seed
    return SeedSigner(name, algorithm, bytes([chosen]) * 32).key.vkey()


def test_a_log_and_a_witness_may_each_have_a_post_quantum_key() -> None:
    trust = trust_from(
        [vkey(LOG, SIGNS), vkey(LOG, EITHER)], [vkey(WITNESS, COSIGNS), vkey(WITNESS, EITHER)], None, ()
    )
    assert [key.algorithm for key in trust.log_keys(LOG)] == [SIGNS, EITHER]
    assert [key.algorithm for key in trust.witnesses] == [COSIGNS, EITHER]
    assert trust.quorum == 1


def test_keys_may_be_given_as_the_lines_in_which_they_are_shown() -> None:
    lines = f"{vkey(LOG, SIGNS)}\n{vkey(LOG, EITHER)}\n"
    assert trust_from([lines], [], None, ()) == trust_from(lines.split(), [], None, ())


@pytest.mark.parametrize(
    ("keys", "witnesses"),
    [
        ([vkey(WITNESS, COSIGNS)], []),
        ([], [vkey(LOG, SIGNS)]),
        ([vkey(LOG, SIGNS)], [vkey(LOG, EITHER)]),
        ([vkey(LOG, EITHER)], [vkey(LOG, COSIGNS)]),
        ([""], []),
        ([" \n"], []),
        ([vkey(LOG, EITHER)[:-4]], []),
    ],
)
def test_a_key_in_the_wrong_place_or_none_at_all_is_refused(keys: list[str], witnesses: list[str]) -> None:
    with pytest.raises(UsageError):
        trust_from(keys, witnesses, None, ())


@pytest.mark.parametrize(
    ("keys", "witnesses", "why"),
    [
        ([], [vkey(WITNESS, COSIGNS, 1), vkey("w2", COSIGNS, 1)], "are one witness"),
        ([], [vkey(WITNESS, EITHER, 1), vkey("w2", EITHER, 1)], "are one witness"),
        ([vkey(LOG, SIGNS, 1)], [vkey(WITNESS, COSIGNS, 1)], "has the key of a log"),
        ([vkey(LOG, EITHER, 1)], [vkey(WITNESS, EITHER, 1)], "has the key of a log"),
    ],
)
def test_one_key_counts_for_one_witness_and_a_logs_key_for_none(
    keys: list[str], witnesses: list[str], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        trust_from(keys, witnesses, 1, ())


def test_a_quorum_of_more_witnesses_than_are_named_is_refused() -> None:
    twice = [vkey(WITNESS, COSIGNS), vkey(WITNESS, EITHER)]
    with pytest.raises(UsageError, match="--witness names 1"):
        trust_from([], twice, 2, ())
