from __future__ import annotations

from pathlib import Path

import pytest

from trailseal.errors import SettingsError, UsageError
from trailseal.merkle.notes import Algorithm
from trailseal.merkle.signing import SeedSigner, sign_note, verify_note
from trailseal.sealing.keys import KeyFile

NOW = "2026-01-02T03:04:05Z"
ORIGIN = "audit.example/1"
BOTH = [Algorithm.ED25519, Algorithm.COSIGNATURE_ML_DSA_44]
PUBLIC = SeedSigner(ORIGIN, Algorithm.ED25519, b"\x05" * 32).key.public_key
TEXT = "audit.example/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    made = KeyFile(tmp_path / "seal.key")
    made.make(NOW)
    return made


def test_a_key_file_is_its_owners_alone_and_making_it_again_keeps_the_key(file: KeyFile) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert KeyFile(file.path).make(NOW) == file.ring()
    assert [path.name for path in file.path.parent.iterdir()] == ["seal.key"]


def test_a_key_file_that_others_can_read_is_refused(file: KeyFile) -> None:
    file.path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        KeyFile(file.path).ring()


def test_in_an_overlap_both_keys_sign_and_whoever_knows_one_of_them_can_check(file: KeyFile) -> None:
    (old,) = file.ring().verifiers("audit.example/1")
    ring = file.rotate(NOW)
    new = ring.verifiers("audit.example/1")[1]
    note = sign_note(TEXT, ring.signers("audit.example/1"), 1)
    for key in (old, new):
        assert [one.key for one in verify_note(note, [key])] == [key]


def test_at_the_end_of_an_overlap_the_old_secret_is_gone_and_its_public_key_is_still_told(file: KeyFile) -> None:
    secret = file.ring().keys[0].secret
    old, new = file.rotate(NOW).verifiers("audit.example/1")
    ring = file.finish()
    assert secret is not None
    assert secret.hex() not in file.path.read_text()
    assert ring.verifiers("audit.example/1") == (old, new)
    assert [signer.key for signer in ring.signers("audit.example/1")] == [new]


def test_an_overlap_is_ended_before_the_next_begins(file: KeyFile) -> None:
    with pytest.raises(UsageError, match="no overlap"):
        file.finish()
    file.rotate(NOW)
    with pytest.raises(UsageError, match="Two keys sign already"):
        file.rotate(NOW)


def test_a_post_quantum_key_is_added_once_and_every_line_before_it_stays(file: KeyFile) -> None:
    before = file.path.read_bytes()
    ring = file.make(NOW, post_quantum=True)
    after = file.path.read_bytes()
    assert after.startswith(before)
    assert after.splitlines()[-1].endswith(b" ml-dsa-44")
    assert file.make(NOW, post_quantum=True) == file.make(NOW) == ring
    assert file.path.read_bytes() == after
    assert [key.algorithm for key in ring.verifiers(ORIGIN)] == BOTH
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_file_from_before_is_read_as_it_was_and_its_key_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    text = f"trailseal-seal-keys/1\nretired {NOW} {PUBLIC.hex()}\nsigning {NOW} {'07' * 32}\n"
    path.write_text(text)
    path.chmod(0o600)
    ring = KeyFile(path).make(NOW)
    assert [(key.state, key.algorithm) for key in ring.keys] == [
        ("retired", Algorithm.ED25519),
        ("signing", Algorithm.ED25519),
    ]
    assert ring.keys[0].public_key == PUBLIC
    assert path.read_text() == text


def test_a_post_quantum_key_signs_checkpoints_and_nothing_else(file: KeyFile) -> None:
    ring = file.make(NOW, post_quantum=True)
    note = sign_note(TEXT, ring.checkpoint_signers(ORIGIN), 1)
    for key in ring.verifiers(ORIGIN):
        assert [one.key for one in verify_note(note, [key])] == [key]
    assert [signer.key.algorithm for signer in ring.signers(ORIGIN)] == BOTH[:1]


def test_a_rotation_is_of_each_algorithm_and_one_key_of_each_is_no_overlap(file: KeyFile) -> None:
    before = file.make(NOW, post_quantum=True).keys
    with pytest.raises(UsageError, match="no overlap"):
        file.finish()
    ring = file.rotate(NOW)
    assert [signer.key.algorithm for signer in ring.checkpoint_signers(ORIGIN)] == [BOTH[0]] * 2 + [BOTH[1]] * 2
    with pytest.raises(UsageError, match="Two keys sign already"):
        file.rotate(NOW)
    ring = file.finish()
    assert [key.state for key in ring.keys] == ["retired", "retired", "signing", "signing"]
    assert [key.public_key for key in ring.keys[:2]] == [key.public_key for key in before]
    assert [signer.key.algorithm for signer in ring.checkpoint_signers(ORIGIN)] == BOTH
    text = file.path.read_text()
    assert not any(key.secret is not None and key.secret.hex() in text for key in before)


def test_a_rotation_by_another_process_is_seen_without_a_restart(file: KeyFile) -> None:
    KeyFile(file.path).rotate(NOW)
    assert len(file.ring().signers("audit.example/1")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "trailseal-seal-keys/1\n",
        "another/1\n",
        "trailseal-seal-keys/1\nsigning now xyz\n",
        f"trailseal-seal-keys/1\nsigning now {'07' * 32} ml-dsa-44\n",
        f"trailseal-seal-keys/1\nsigning now {'07' * 32}\nsigning now {'07' * 32} ml-dsa-65\n",
        f"trailseal-seal-keys/1\nsigning now {'07' * 32}\nretired now {'07' * 32} ml-dsa-44\n",
    ],
)
def test_a_file_that_holds_no_key_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seal.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"seal\.key"):
        KeyFile(path).ring()


def test_a_missing_key_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="trailseal keys make"):
        KeyFile(tmp_path / "seal.key").ring()
