from __future__ import annotations

import os
from pathlib import Path

import pytest

from trailseal.adapters.logs.kafka_topic_plan import VARIABLES
from trailseal.errors import SettingsError
from trailseal.settings import TOPIC_NAMES, Settings, load_settings, shown, source_of


@pytest.fixture(autouse=True)
def _an_empty_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRAILSEAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_names_of_the_topics_set_up_are_told_from_settings() -> None:
    assert set(TOPIC_NAMES) | {name for name in Settings.model_fields if name.startswith("kafka_")} == {
        f"kafka_{name.lower()}" for name in (*VARIABLES, "SPREAD", "SESSION_TIMEOUT")
    }


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().port == 8000
    Path("trailseal.toml").write_text("port = 8001\n")
    assert (load_settings().port, source_of("port")) == (8001, "file")
    monkeypatch.setenv("TRAILSEAL_PORT", "8002")
    assert (load_settings().port, source_of("port")) == (8002, "environment")
    assert (load_settings({"port": 8003}).port, source_of("port", {"port": 8003})) == (8003, "flag")


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load_settings({"port": None}).port == 8000


def test_an_unknown_setting_in_the_environment_is_named_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAILSEAL_PROT", "1")
    with pytest.raises(SettingsError, match=r"TRAILSEAL_PROT.*Did you mean 'port'"):
        load_settings()


def test_an_unknown_setting_in_the_file_is_named_with_the_file() -> None:
    Path("trailseal.toml").write_text("refresh = 1\n")
    with pytest.raises(SettingsError, match=r"trailseal.toml has an unknown setting 'refresh'"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRAILSEAL_PORT", "abc"),
        ("TRAILSEAL_PORT", "0"),
        ("TRAILSEAL_REFRESH_INTERVAL", "-1"),
        ("TRAILSEAL_LOG_LEVEL", "x"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable} is wrong"):
        load_settings()


def test_a_wrong_value_in_the_file_is_named_with_the_file() -> None:
    Path("trailseal.toml").write_text('port = "many"\n')
    with pytest.raises(SettingsError, match=r"port in trailseal.toml is wrong"):
        load_settings()


def test_a_named_file_must_exist_and_be_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(config=tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("port = ")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(config=tmp_path / "broken.toml")


def test_variables_of_the_test_suite_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAILSEAL_TEST_KAFKA", "127.0.0.1:1")
    load_settings()


def test_a_password_in_a_url_is_never_shown() -> None:
    assert "hunter2" not in shown("redis://:hunter2@host:6379/0")
    assert shown("redis://host:6379/0") == "redis://host:6379/0"
