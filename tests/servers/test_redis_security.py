"""Redis behind TLS and a password, both from files: what is refused is a miss, never an error, and is named."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.certificates import Authority
from servers.waiting import eventually
from trailseal.adapters.caches.redis import RedisCache
from trailseal.bootstrap.links import redis_options
from trailseal.errors import SettingsError
from trailseal.settings import Settings, shown

PASSWORD = "corr3ct-h0rse"  # noqa: S105 - of a Redis that lives as long as the test


@pytest.fixture
def port(redis_url: str, tmp_path: Path) -> Iterator[int]:
    """A Redis that speaks nothing but TLS and answers nobody without the password."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on the PATH: apt-get install redis-server")
    assert redis_url
    authority = Authority(tmp_path)
    certificate, key = authority.sign("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        chosen: int = probe.getsockname()[1]
    configuration = tmp_path / "redis.conf"
    configuration.write_text(
        f"port 0\ntls-port {chosen}\nbind 127.0.0.1\ndir {tmp_path}\nsave ''\nrequirepass {PASSWORD}\n"
        f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {authority.path}\n"
        "tls-auth-clients no\n"
    )
    process = subprocess.Popen([program, str(configuration)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(chosen))
        yield chosen
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def cache_of(port: int, folder: Path, *, password: str = PASSWORD, scheme: str = "rediss", ca: Path) -> RedisCache:
    secret = folder / "redis.password"
    secret.write_text(password + "\n")
    settings = Settings(
        cache=f"{scheme}://127.0.0.1:{port}/0", redis_password_file=secret, redis_ca_file=ca, data=folder
    )
    assert password not in " ".join(shown(value) for _, value in settings)
    options = redis_options(settings, settings.cache)
    assert password not in repr(options)
    return RedisCache(options)


def test_tokens_and_values_pass_through_tls_within_the_products_own_time_outs(port: int, tmp_path: Path) -> None:
    cache = cache_of(port, tmp_path, ca=tmp_path / "ca.pem")
    eventually(lambda: cache.trouble() is None)
    eventually(lambda: cache.renew(["a"]))
    looked = cache.find("q", ["a"], 1)
    assert looked is not None
    cache.keep("q", looked, b"v", 10, 10)
    found = cache.find("q", ["a"], 1)
    assert found is not None
    assert found.value == b"v"
    cache.close()


def test_a_wrong_password_is_named_and_costs_misses_only(port: int, tmp_path: Path) -> None:
    cache = cache_of(port, tmp_path, password="wrong-one", ca=tmp_path / "ca.pem")  # noqa: S106 - wrong on purpose
    eventually(lambda: "refuses our credentials" in (cache.trouble() or ""))
    assert "wrong-one" not in (cache.trouble() or "")
    assert (cache.find("q", ["a"], 1), cache.renew(["a"])) == (None, False)
    cache.close()


def test_a_certificate_of_a_stranger_is_not_talked_over(port: int, tmp_path: Path) -> None:
    """The same port, name and password: only the authority differs."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cache = cache_of(port, tmp_path, ca=Authority(elsewhere).path)
    assert "does not answer" in (cache.trouble() or "")
    assert (cache.find("q", ["a"], 1), cache.renew(["a"])) == (None, False)
    cache.close()


def test_an_authority_for_a_link_without_tls_stops_the_start(port: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="rediss://"):
        cache_of(port, tmp_path, scheme="redis", ca=tmp_path / "ca.pem")
