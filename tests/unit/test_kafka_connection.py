"""How to reach the brokers, without any: what the settings become, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from trailseal.adapters.logs.kafka_connection import Security, options_from_url, shown_id
from trailseal.errors import SettingsError
from trailseal.merkle.checkpoints import check_origin


def secret(folder: Path, text: str) -> Path:
    path = folder / "password"
    path.write_text(text)
    return path


def test_a_topics_id_can_stand_in_a_logs_name() -> None:
    assert shown_id("Zk+9/w") == "Zk-9_w"
    check_origin(f"example.com/kafka/cluster/{shown_id('Zk+9/w')}/1/0")


def test_a_user_name_and_a_file_are_scram_over_tls(tmp_path: Path) -> None:
    security = Security(username="audit", password_file=secret(tmp_path, "pa ss\n"))
    assert security.properties() == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "audit",
        "sasl.password": "pa ss",
    }


def test_what_is_set_by_name_wins_over_the_file_of_properties(tmp_path: Path) -> None:
    config = tmp_path / "client.properties"
    config.write_text("# ours\nsecurity.protocol=SSL\nsocket.keepalive.enable = true\n")
    assert Security(client_config=config).properties() == {
        "security.protocol": "SSL",
        "socket.keepalive.enable": "true",
    }
    assert Security(client_config=config, protocol="PLAINTEXT").properties()["security.protocol"] == "PLAINTEXT"


def test_an_authority_alone_means_tls(tmp_path: Path) -> None:
    ca = secret(tmp_path, "-----BEGIN CERTIFICATE-----\n")
    assert Security(ca_file=ca).properties() == {"ssl.ca.location": str(ca), "security.protocol": "SSL"}


@pytest.mark.parametrize(
    "wrong",
    [{"username": "audit"}, {"mechanism": "PLAIN"}, {"ca_file": Path("/nowhere/ca.pem")}],
    ids=["a user without a password", "a mechanism without a user", "a missing file"],
)
def test_what_does_not_go_together_is_said(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Security(**wrong).properties()  # type: ignore[arg-type] # one of several


def test_no_secret_shows_in_options(tmp_path: Path) -> None:
    security = Security(username="audit", password_file=secret(tmp_path, "canary")).properties()
    options = options_from_url("kafka://a:9092,b:9092/audit-events", security=security)
    assert (options.brokers, options.topic) == ("a:9092,b:9092", "audit-events")
    assert "canary" not in repr(options)
    assert options.properties()["sasl.password"] == "canary"


@pytest.mark.parametrize("url", ["kafka://a:9092", "kafka:///t", "kafka://u:p@a:9092/t", "kafka://a/t/u"])
def test_a_wrong_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        options_from_url(url)
    assert "u:p" not in str(refusal.value)
