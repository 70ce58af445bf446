"""The cache on a real Redis: one that runs, and one that the test stops, pauses and brings back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from conformance.cache_contract import CacheContract
from servers.waiting import eventually
from trailseal.adapters.caches.redis import CircuitBreaker, RedisCache, RedisOptions
from trailseal.ports.cache import Found

ENOUGH_S = 1.0
"""A time-out that a busy test machine keeps; the product's 50 ms are tested by their own test."""


class OwnRedis:
    """A Redis server of this test alone."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [
            program,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def own_redis(redis_url: str, tmp_path: Path) -> Iterator[OwnRedis]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on the PATH, so no Redis can be stopped: apt-get install redis-server")
    assert redis_url
    server = OwnRedis(program, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def caches() -> Iterator[list[RedisCache]]:
    opened: list[RedisCache] = []
    yield opened
    for cache in opened:
        cache.close()


def open_cache(caches: list[RedisCache], url: str, **options: object) -> RedisCache:
    caches.append(RedisCache(RedisOptions(url, **{"timeout_s": ENOUGH_S, **options})))  # type: ignore[arg-type]  # test
    return caches[-1]


def mark(cache: RedisCache, *names: str) -> str:
    found = cache.find("mark", names, 0.001)
    assert found is not None
    return found.mark


def put(cache: RedisCache, question: str, value: bytes) -> None:
    found = cache.find(question, ["a"], 1)
    assert found is not None
    cache.keep(question, found, value, 60, 60)


def got(cache: RedisCache, question: str) -> bytes | None:
    found = cache.find(question, ["a"], 1)
    return None if found is None else found.value


def everything(cache: RedisCache) -> tuple[object, ...]:
    """Call every method once; what they say."""
    found = Found("0" * 40, 0.0, None, "nobody")
    cache.keep("q", found, b"v", 10, 10)
    cache.release("q", found)
    cache.writer_here(present=False)
    return cache.find("q", ["a"], 1), cache.earlier("q"), cache.renew(["a"]), cache.clear()


NOTHING = (None, None, False, False)


class TestRedisCache(CacheContract):
    @pytest.fixture
    def cache(self, redis_url: str, redis_prefix: str, caches: list[RedisCache]) -> RedisCache:
        cache = open_cache(caches, redis_url, prefix=redis_prefix)
        cache.writer_here(present=True)
        return cache

    def let_pass(self, seconds: float) -> None:
        """Redis keeps its own time, so there is nothing to turn: it has to pass."""
        threading.Event().wait(seconds)


def test_a_redis_that_is_stopped_never_raises_and_is_used_again_when_it_is_back(
    own_redis: OwnRedis, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, own_redis.url, open_s=0.05)
    before = mark(cache, "a")
    put(cache, "q", b"old")
    own_redis.kill()

    for _ in range(5):
        assert everything(cache) == NOTHING
    assert not cache.reachable

    own_redis.start()
    eventually(lambda: cache.renew(["a"]))
    assert cache.reachable
    assert mark(cache, "a") != before
    assert got(cache, "q") is None


def test_a_redis_that_hangs_costs_a_few_time_outs_and_then_nothing(
    own_redis: OwnRedis, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, own_redis.url, timeout_s=0.05, failures=3, open_s=30.0)
    eventually(lambda: cache.renew(["a"]))
    own_redis.signal(signal.SIGSTOP)

    started = time.monotonic()
    for _ in range(500):
        assert cache.find("q", ["a"], 1) is None
        assert not cache.renew(["a"])
    took = time.monotonic() - started
    own_redis.signal(signal.SIGCONT)

    assert took < 5.0  # a thousand time-outs would take fifty seconds


def test_a_hanging_redis_that_goes_on_is_used_again(own_redis: OwnRedis, caches: list[RedisCache]) -> None:
    cache = open_cache(caches, own_redis.url, timeout_s=0.1, open_s=0.05)
    eventually(lambda: cache.renew(["a"]))
    own_redis.signal(signal.SIGSTOP)
    eventually(lambda: not cache.renew(["a"]) and not cache.reachable)
    own_redis.signal(signal.SIGCONT)

    eventually(lambda: cache.renew(["a"]))
    eventually(lambda: cache.find("q", ["a"], 1) is not None)


def test_a_redis_that_comes_back_with_an_older_state_gives_no_old_token(
    own_redis: OwnRedis, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, own_redis.url)
    old = mark(cache, "a", "*")
    put(cache, "q", b"old")
    with Redis.from_url(own_redis.url) as admin:
        admin.save()
    assert cache.renew(["a", "*"])
    new = mark(cache, "a", "*")
    own_redis.kill()
    own_redis.start()

    eventually(lambda: cache.find("mark", ["a", "*"], 0.001) is not None)
    restored = mark(cache, "a", "*")

    assert len({old, new, restored}) == 3
    assert got(cache, "q") is None
    with Redis.from_url(own_redis.url) as admin:
        assert admin.keys("*token:a")  # it did come back with what it had saved


def test_an_evicted_token_never_comes_back(redis_url: str, redis_prefix: str, caches: list[RedisCache]) -> None:
    cache = open_cache(caches, redis_url, prefix=redis_prefix)
    before = [mark(cache, "a"), mark(cache, "b")]
    put(cache, "q", b"old")
    with Redis.from_url(redis_url) as admin:
        assert admin.delete(f"{redis_prefix}token:a") == 1

    after = [mark(cache, "a"), mark(cache, "b")]

    assert after[0] != before[0]
    assert after[1] == before[1]
    assert got(cache, "q") is None


def test_a_token_expires_when_nobody_asks_for_it(
    redis_url: str, redis_prefix: str, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, redis_url, prefix=redis_prefix, token_ttl_s=0.05)
    with Redis.from_url(redis_url) as admin:
        first = mark(cache, "a")
        eventually(lambda: not admin.exists(f"{redis_prefix}token:a"))
    assert mark(cache, "a") != first


def test_thousands_of_tokens_can_be_asked_for_at_once(
    redis_url: str, redis_prefix: str, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, redis_url, prefix=redis_prefix)
    names = [f"tenant/{number}" for number in range(12_000)]

    first = mark(cache, *names)

    assert mark(cache, *names) == first
    for renewed in (names[0], names[6_000], names[-1]):
        before = mark(cache, *names)
        assert cache.renew([renewed])
        assert mark(cache, *names) != before


def test_a_value_larger_than_the_limit_is_not_kept(
    redis_url: str, redis_prefix: str, caches: list[RedisCache]
) -> None:
    cache = open_cache(caches, redis_url, prefix=redis_prefix, max_value_bytes=100)
    put(cache, "small", b"x" * 100)
    put(cache, "large", b"x" * 101)

    assert got(cache, "small") == b"x" * 100
    assert got(cache, "large") is None


def test_wrong_credentials_are_a_cache_that_cannot_be_reached(
    own_redis: OwnRedis, caches: list[RedisCache]
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.config_set("requirepass", "right")
    secret = "canary-37aa"  # noqa: S105 - the wrong one
    wrong = open_cache(caches, own_redis.url, password=secret)
    right = open_cache(caches, own_redis.url, password="right")  # noqa: S106 - a test's own server

    assert everything(wrong) == NOTHING
    assert secret not in repr(wrong._options)
    assert right.renew(["a"])


def test_the_circuit_opens_after_failures_in_a_row_and_lets_one_call_through_to_try() -> None:
    now = [0.0]
    breaker = CircuitBreaker(2, 10.0, lambda: now[0])
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()

    now[0] = 10.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.failed()
    now[0] = 19.0
    assert not breaker.allows()
    now[0] = 20.0
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]
