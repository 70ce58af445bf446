"""The cache in Redis: shared by every process, never waited for, never believed more than it can know.

A token is a random value with the time of its renewal by Redis' own clock. A mark is the hash of a question's
tokens and of the server's run id: a Redis that comes back with an older state (a snapshot, a replica that was
behind) has another run id, so nothing computed before is found again. An evicted token is made anew with a new
random value.

A value begins with 72 characters: its mark (40), and by Redis' clock until when it may be given (16) and until
when for want of a better one (16). Looking, claiming and reading are one script and one round trip; so are keeping
and giving the lease back.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from trailseal.adapters.caches.redis_scripts import Script, ScriptRunner
from trailseal.errors import SettingsError
from trailseal.ports.cache import Found

_T = TypeVar("_T")
_MICROSECONDS: Final = 1_000_000
_NAMES_AT_ONCE: Final = 500
_WITHOUT_CLAIM: Final = 3

_FIND: Final = Script("""
local now = redis.call('TIME')
local stamp = now[1] * 1000000 + now[2]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local found = redis.call('MGET', unpack(KEYS, 3))
local parts, youngest = {ARGV[4], run}, 0
for i = 1, #KEYS - 2 do
  local token = found[i]
  if not token then
    token = ARGV[i + 4] .. ':' .. string.format('%.0f', stamp)
    redis.call('SET', KEYS[i + 2], token, 'PX', ARGV[1])
  end
  parts[i + 2] = token
  youngest = math.max(youngest, tonumber(string.match(token, ':(%d+)$')))
end
local mark = redis.sha1hex(table.concat(parts, ' '))
local answer = {mark, string.format('%.0f', stamp - youngest)}
if ARGV[3] == '' then return answer end
local head = redis.call('GETRANGE', KEYS[1], 0, 71)
if string.sub(head, 1, 40) == mark and tonumber(string.sub(head, 41, 56)) > stamp then
  answer[3] = redis.call('GETRANGE', KEYS[1], 72, -1)
  return answer
end
answer[3] = false
if string.sub(redis.call('GET', KEYS[2]) or '', 1, 40) ~= mark then
  redis.call('SET', KEYS[2], mark .. ARGV[3], 'PX', ARGV[2])
  answer[4] = 1
end
return answer
""")
_KEEP: Final = Script("""
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
local now = redis.call('TIME')
local stamp = now[1] * 1000000 + now[2]
local head = string.sub(ARGV[1], 1, 40) .. string.format('%016.0f%016.0f', stamp + ARGV[2], stamp + ARGV[3])
redis.call('SET', KEYS[1], head .. ARGV[4], 'PX', math.ceil(math.max(ARGV[2], ARGV[3]) / 1000))
return 1
""")
_EARLIER: Final = Script("""
local now = redis.call('TIME')
local ends = tonumber(string.sub(redis.call('GETRANGE', KEYS[1], 0, 71), 57))
if ends and ends > now[1] * 1000000 + now[2] then return redis.call('GETRANGE', KEYS[1], 72, -1) end
return false
""")
_RENEW: Final = Script("""
local now = redis.call('TIME')
local stamp = string.format('%.0f', now[1] * 1000000 + now[2])
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1] .. ':' .. stamp, 'PX', ARGV[1], 'XX')
end
return #KEYS
""")
_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
""")


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Where the Redis is and how long it may take. Secrets never show in ``repr``.

    Attributes:
        url: ``redis[s]://[user[:password]@]host[:port][/db]``.
        username: wins over the URL's, as the password does.
        password: wins over the URL's, so that secrets can stay out of URLs.
        ca_certs: a PEM file with the authorities to trust (``rediss``), or None for the system's.
        prefix: put before every key.
        timeout_s: for connecting and for an answer.
        max_value_bytes: larger values are not kept.
        token_ttl_s: a token that nobody asked for or renewed this long is forgotten, which only costs a miss.
        failures: this many in a row open the circuit.
        open_s: how long it stays open before one call tries again.
    """

    url: str = field(repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    prefix: str = "trailseal:"
    timeout_s: float = 0.05
    max_value_bytes: int = 256 * 1024
    token_ttl_s: float = 86_400.0
    failures: int = 3
    open_s: float = 1.0


class CircuitBreaker:
    """After some failures in a row nothing is asked for a while; then one call at a time tries again."""

    def __init__(self, failures: int, open_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failed = 0
        self._closed_from = 0.0

    def allows(self) -> bool:
        """Whether to ask now. In the half-open state the one caller who is told so keeps the others waiting."""
        with self._lock:
            if self._failed < self._limit:
                return True
            now = self._monotonic()
            if now < self._closed_from:
                return False
            self._closed_from = now + self._open_s
            return True

    def succeeded(self) -> None:
        """An answer came: closed."""
        self._failed = 0

    def failed(self) -> None:
        """No answer came."""
        with self._lock:
            self._failed += 1
            if self._failed >= self._limit:
                self._closed_from = self._monotonic() + self._open_s

    @property
    def closed(self) -> bool:
        """Whether calls go through freely."""
        return self._failed < self._limit


class RedisCache:
    """`QueryCache` on one Redis (or a primary with replicas; not on Redis Cluster, whose keys lie apart)."""

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._breaker = CircuitBreaker(options.failures, options.open_s)
        pool = ConnectionPool(**_connection(options))
        self._redis = Redis.from_pool(pool)
        self._scripts = ScriptRunner(pool)

    @property
    def reachable(self) -> bool:
        """Whether Redis answered lately, for metrics and `/readyz`; nothing depends on it."""
        return self._breaker.closed

    def trouble(self) -> str | None:
        """Why Redis cannot be used now, in a sentence; None where it answers. For set-up: nothing else waits."""
        rest = "Until it can be used every question goes to the index."
        try:
            self._redis.ping()
        except (AuthenticationError, NoPermissionError):
            return f"Redis refuses our credentials: check redis_username and redis_password_file. {rest}"
        except (RedisError, OSError) as error:
            return f"Redis does not answer ({type(error).__name__}): is it started, its certificate trusted? {rest}"
        return None

    def _try(self, call: Callable[[], _T], otherwise: _T) -> _T:
        """The call's result, or the other value where Redis cannot be asked or gives no sensible answer."""
        if not self._breaker.allows():
            return otherwise
        try:
            result = call()
        except (RedisError, OSError, ValueError):
            self._breaker.failed()
            return otherwise
        self._breaker.succeeded()
        return result

    def find(self, question: str, names: Sequence[str], claim_s: float) -> Found | None:
        """See `QueryCache.find`: one round trip, up to `_NAMES_AT_ONCE` names."""
        return self._try(lambda: self._found(question, names, claim_s), None)

    def _found(self, question: str, names: Sequence[str], claim_s: float) -> Found:
        mark, age_s = "", float("inf")
        for start in range(0, len(names) - _NAMES_AT_ONCE, _NAMES_AT_ONCE):
            some = self._run_find(question, names[start : start + _NAMES_AT_ONCE], 0, "", mark)
            mark, age_s = some[0].decode(), min(age_s, int(some[1]) / _MICROSECONDS)
        rest = names[(len(names) - 1) // _NAMES_AT_ONCE * _NAMES_AT_ONCE :]
        claim = secrets.token_hex(8)
        last = self._run_find(question, rest, max(int(claim_s * 1000), 1), claim, mark)
        # Redis' clock may be set back; a token is never younger than now.
        age_s = max(min(age_s, int(last[1]) / _MICROSECONDS), 0.0)
        return Found(last[0].decode(), age_s, last[2], claim if len(last) > _WITHOUT_CLAIM else None)

    def _run_find(self, question: str, names: Sequence[str], claim_ms: int, claim: str, mark: str) -> list[Any]:
        keys = [self._value(question), self._lease(question), *self._keys(names)]
        token_ms, *fresh = self._fresh(names)
        answer: list[Any] = self._scripts.run(_FIND, keys, [token_ms, claim_ms, claim, mark, *fresh])
        return answer

    def keep(self, question: str, found: Found, value: bytes, ttl_s: float, earlier_s: float) -> None:
        """See `QueryCache.keep`; what is too large only gives its lease back."""
        if ttl_s <= 0 or len(value) > self._options.max_value_bytes:
            self.release(question, found)
            return
        lives = (int(ttl_s * _MICROSECONDS), int(earlier_s * _MICROSECONDS))
        keys = [self._value(question), self._lease(question)]
        self._try(lambda: self._scripts.run(_KEEP, keys, [_held(found), *lives, value]), None)

    def release(self, question: str, found: Found) -> None:
        """See `QueryCache.release`."""
        if found.claim is not None:
            self._try(lambda: self._scripts.run(_RELEASE, [self._lease(question)], [_held(found)]), None)

    def earlier(self, question: str) -> bytes | None:
        """See `QueryCache.earlier`."""
        found: bytes | None = self._try(lambda: self._scripts.run(_EARLIER, [self._value(question)], []), None)
        return found

    def renew(self, names: Sequence[str]) -> bool:
        """See `QueryCache.renew`; a lost connection is a False."""
        if not names:
            return True
        done = self._try(lambda: self._scripts.run(_RENEW, self._keys(names), self._fresh(names)), None)
        return done is not None

    def _keys(self, names: Sequence[str]) -> list[str]:
        return [f"{self._options.prefix}token:{name}" for name in names]

    def _fresh(self, names: Sequence[str]) -> list[str | int]:
        """The script's arguments: how long a token lives, and a random value for each name."""
        return [int(self._options.token_ttl_s * 1000), *(secrets.token_hex(8) for _ in names)]

    def clear(self) -> bool:
        """See `QueryCache.clear`; values are unlinked page by page."""
        return self._try(self._unlink_values, otherwise=False)

    def _unlink_values(self) -> bool:
        escaped = re.sub(r"([\[\]*?\\])", r"\\\1", self._value(""))
        some: list[bytes] = []
        for key in self._redis.scan_iter(match=f"{escaped}*", count=_NAMES_AT_ONCE):
            some.append(key)
            if len(some) >= _NAMES_AT_ONCE:
                self._redis.unlink(*some)
                some = []
        if some:
            self._redis.unlink(*some)
        return True

    def writer_here(self, present: bool) -> None:
        """Every process sees this cache, so it does not matter where the pipeline runs."""

    def _value(self, key: str) -> str:
        return f"{self._options.prefix}value:{key}"

    def _lease(self, key: str) -> str:
        return f"{self._options.prefix}lease:{key}"

    def close(self) -> None:
        """Close all connections."""
        self._scripts.close()
        self._redis.close()


def _connection(options: RedisOptions) -> dict[str, Any]:
    """What the pool makes connections with; what is set apart wins over the URL."""
    try:
        found: dict[str, Any] = dict(parse_url(options.url))  # type: ignore[no-untyped-call] # the library has no annotation there
    except ValueError as error:
        # The text could hold the URL, and the URL a password.
        raise SettingsError("The cache is written redis[s]://HOST[:PORT][/DB].") from error
    if options.ca_certs is not None and not options.url.startswith("rediss:"):
        raise SettingsError("redis_ca_file is for TLS: write the cache rediss://HOST[:PORT][/DB], or leave it out.")
    apart = {"username": options.username, "password": options.password, "ssl_ca_certs": options.ca_certs}
    found |= {name: value for name, value in apart.items() if value is not None}
    return found | {
        "socket_timeout": options.timeout_s,
        "socket_connect_timeout": options.timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }


def _held(found: Found) -> str:
    """What stands in the lease of an answer: under which tokens, and whose."""
    return f"{found.mark}{found.claim or ''}"
