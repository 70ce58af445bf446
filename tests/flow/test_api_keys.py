"""`trailseal api-keys` as an operator uses it, beside a running system."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

import pytest

from flow.running import PATIENCE_S, until
from flow.test_commands import rows, trailseal
from flow.test_http_up import free_port, ready, refused, up

pytestmark = pytest.mark.crash


def status(port: int, key: str | None, host: str = "127.0.0.1") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        headers = {"Host": host} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        connection.request("GET", "/events", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_key_made_beside_a_running_server_counts_at_once_and_not_after_it_is_revoked(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    with up(data, port):
        assert status(port, None) == 200
        done = trailseal("api-keys", "create", "--tenant", "acme", "--scope", "events:read", data=data)
        (made,) = rows(done)
        assert b"the first key" in done.stderr
        until(lambda: status(port, None) == 401, "the door to close")
        until(lambda: status(port, made["api_key"], host="audit.example") == 200, "the key to open it")
        assert trailseal("api-keys", "revoke", made["key"], data=data).returncode == 0
        until(lambda: status(port, made["api_key"]) == 401, "the key to be worthless")
    (listed,) = rows(trailseal("api-keys", "list", data=data))
    assert (listed["key"], listed["tenants"], listed["scopes"]) == (made["key"], ["acme"], ["events:read"])
    assert listed["revoked"] is not None
    assert made["api_key"].encode() not in b"".join(f.read_bytes() for f in data.rglob("*") if f.is_file())


def test_an_open_address_needs_a_key_and_is_told_the_command_that_makes_one(tmp_path: Path) -> None:
    data, port = tmp_path / "data", str(free_port())
    told = refused("--data", str(data), "--host", "0.0.0.0", "--port", port, cwd=tmp_path)  # noqa: S104 - meant
    assert "trailseal api-keys create" in told
    (made,) = rows(trailseal("api-keys", "create", "--all-tenants", "--scope", "admin", data=data))
    with up(data, int(port), "--host", "0.0.0.0"):  # noqa: S104 - meant
        assert ready(int(port))
        assert status(int(port), made["api_key"]) == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "--scope", "admin"), "--all-tenants"),
        (("create", "--scope", "admin", "--tenant", "a", "--all-tenants"), "--all-tenants"),
        (("create", "--tenant", "acme"), "at least one scope"),
        (("create", "--tenant", "a/b", "--scope", "admin"), "a/b"),
        (("revoke", "nobody"), "trailseal api-keys list"),
    ],
)
def test_an_impossible_key_is_one_line_and_no_key(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = trailseal("api-keys", *words, data=tmp_path / "data")
    (said,) = done.stderr.decode().splitlines()
    assert told in said
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_person_gets_the_key_alone_and_a_table_of_all(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = trailseal(
        "api-keys", "create", "--tenant", "acme", "--scope", "admin", "--note", "me", "--form", "table", data=data
    ).stdout.decode()
    assert made.startswith("ts_")
    assert made.count("\n") == 1
    header, row = (
        trailseal("api-keys", "list", "--form", "table", data=data, COLUMNS="200").stdout.decode().splitlines()
    )
    assert header.split() == ["key", "scopes", "tenants", "created", "revoked", "note"]
    assert row.split()[:3] == [made.split("_")[1], "admin", "acme"]
    assert data.stat().st_mode & 0o077 == 0
