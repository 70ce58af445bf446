"""API keys: made, listed, revoked as small documents of the ledger, and checked on every request."""

from __future__ import annotations

import hmac
import secrets
import threading
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, get_args

import msgspec

from trailseal.errors import Fenced, NotAllowed, NotAuthenticated, NotFound, Unavailable, UsageError
from trailseal.model.limits import check_names
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Ledger
from trailseal.telemetry import API_KEYS_AGE

Scope = Literal["events:write", "events:read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
DOCUMENTS = "api-keys/"
RELOAD_S = 1.0
"""A key that is made or revoked counts everywhere after this time at most, while the ledger can be read."""
TRUST_S = 30.0
"""Keys read longer ago open nothing but `events:write`, and that for the grace only."""
GRACE_S = 86_400.0
_AHEAD_S = RELOAD_S / 2
"""Keys are read again from this age on, while nobody waits for it yet; also the pause after a failure."""
_PATIENCE_S = 0.5
"""How long requests wait for one reading of the keys while those at hand may still be used."""
_PREFIX_BYTES = 6
_SECRET_BYTES = 32


class ApiKey(msgspec.Struct, frozen=True):
    """What is stored of a key; the key itself is shown once and never stored.

    Attributes:
        prefix: names the key: 12 hexadecimal digits, also the middle part of the key.
        secret_hash: SHA-256 of the whole key, hexadecimal; a slow hash would add nothing to 256 random bits.
        scopes: what it may do; ``admin`` may do everything.
        tenants: whose events it reaches, sorted; None = every tenant's.
        note: for people: whom or what it was made for.
        created_us: microseconds since 1970 UTC.
        revoked_us: likewise, or None while it counts.
    """

    prefix: str
    secret_hash: str
    scopes: tuple[Scope, ...]
    tenants: tuple[str, ...] | None
    note: str
    created_us: int
    revoked_us: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as far as we need to know.

    Attributes:
        key: the prefix of the API key, or None on a server that never had one.
        scopes: what may be done.
        tenants: whose events may be reached, sorted; None = every tenant's.
        unsure: whether the key may have been revoked since it was read, so that it opens `events:write` alone.
    """

    key: str | None
    scopes: frozenset[Scope]
    tenants: tuple[str, ...] | None
    unsure: bool = False

    def require(self, scope: Scope) -> None:
        """Insist on a scope.

        Raises:
            NotAllowed: the key lacks it.
            Unavailable: it may have been revoked since it was read.
        """
        if self.unsure and scope != "events:write":
            raise _not_known_now()
        if scope not in self.scopes and "admin" not in self.scopes:
            raise NotAllowed(f"This key lacks the scope {scope}: use another key, or make one with that scope.")


KEYLESS = Principal(key=None, scopes=frozenset(SCOPES), tenants=None)
"""Whoever asks a server that never had a key; only this machine can."""


def create_key(
    ledger: Ledger, clock: Clock, *, scopes: Sequence[str], tenants: Sequence[str] | None, note: str = ""
) -> tuple[ApiKey, str]:
    """Make a key. From the first one on, nothing is answered without a valid key.

    Args:
        ledger: where it is kept.
        clock: tells the time of creation.
        scopes: at least one of `SCOPES`.
        tenants: at least one tenant, or None for all of them, those of the future included.
        note: for people.

    Returns:
        What is stored, and the key itself (``ts_<prefix>_<secret>``), which cannot be shown again.

    Raises:
        UsageError: an unknown scope, no scope, no tenant, or an impossible tenant.
        Unavailable: the ledger cannot be written now.
    """
    prefix = secrets.token_hex(_PREFIX_BYTES)
    text = f"ts_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = ApiKey(
        prefix=prefix,
        secret_hash=_hash(text),
        scopes=_checked_scopes(scopes),
        tenants=None if tenants is None else _checked_tenants(tenants),
        note=note,
        created_us=clock.now_us(),
    )
    ledger.put_document(DOCUMENTS + prefix, msgspec.json.encode(key), None)
    return key, text


def list_keys(ledger: Ledger) -> list[ApiKey]:
    """Every key there ever was, oldest first.

    Raises:
        Unavailable: the ledger cannot be read now.
        IntegrityViolation: a key's document is damaged.
    """
    found = ledger.documents(DOCUMENTS).items()
    keys = (document.read(ApiKey, name) for name, document in found)
    return sorted(keys, key=lambda key: (key.created_us, key.prefix))


def revoke_key(ledger: Ledger, clock: Clock, prefix: str) -> ApiKey:
    """Make a key worthless within `RELOAD_S`; doing it twice changes nothing.

    Raises:
        NotFound: there is no key of that prefix.
        Unavailable: the ledger cannot be written now.
    """
    document_name = DOCUMENTS + prefix
    while True:
        document = ledger.document(document_name)
        if document is None:
            raise NotFound(f"There is no API key {prefix}; `trailseal api-keys list` shows them all.")
        key = document.read(ApiKey, document_name)
        if key.revoked_us is not None:
            return key
        revoked = msgspec.structs.replace(key, revoked_us=clock.now_us())
        try:
            ledger.put_document(document_name, msgspec.json.encode(revoked), document.version)
        except Fenced:
            continue
        return revoked


class Authenticator:
    """Tells who asks. Knows every key, reads them again each `RELOAD_S`, and fails closed.

    Where the ledger stays away longer than `TRUST_S`, nobody can tell which keys were revoked. Keys known until
    then go on appending for the grace, because an event that is kept out is lost; all else is refused.

    Args:
        ledger: holds the keys.
        clock: tells the time.
        grace_s: for so long after the last reading.
    """

    def __init__(self, ledger: Ledger, clock: Clock, grace_s: float = GRACE_S) -> None:
        self._ledger = ledger
        self._clock = clock
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._loaded_at: float | None = None
        self._reading: Future[None] | None = None
        self._reading_since = 0.0
        self._keys: dict[str, tuple[str, Principal]] = {}
        self._ever_had_a_key = False

    def keyless(self) -> bool:
        """Whether no key was ever made.

        Raises:
            Unavailable: the keys cannot be read now.
        """
        self._reload()
        return not self._ever_had_a_key

    def authenticate(self, authorization: str | None) -> Principal:
        """The principal behind an ``Authorization`` header: ``Bearer KEY``, or ``Basic`` with the key as password.

        Raises:
            NotAuthenticated: keys exist and this is no valid one.
            Unavailable: the keys cannot be read now.
        """
        if self.keyless():
            return self._as_sure_as_can_be(KEYLESS)
        text = _presented(authorization)
        if text is None:
            raise NotAuthenticated("This server needs an API key: send the header Authorization: Bearer ts_….")
        stored_hash, principal = self._keys.get(text.split("_", 2)[1] if text.count("_") > 1 else "", ("", KEYLESS))
        if not hmac.compare_digest(_hash(text), stored_hash):
            if self._unsure():
                raise _not_known_now()
            raise NotAuthenticated("The API key is unknown or revoked: use another one.")
        return self._as_sure_as_can_be(principal)

    def trouble(self) -> str | None:
        """What an operator should know while the keys cannot be read; None where they were read lately."""
        age_s = self._age_s(self._clock.monotonic())
        if age_s < TRUST_S:
            return None
        if age_s >= self._grace_s:
            return "API keys cannot be read, so everything is refused."
        return (
            f"API keys were last read {age_s:.0f} s ago; those known then go on appending events until"
            f" {self._grace_s:.0f} s, and open nothing else."
        )

    def _as_sure_as_can_be(self, principal: Principal) -> Principal:
        return replace(principal, unsure=True) if self._unsure() else principal

    def _unsure(self) -> bool:
        return self._age_s(self._clock.monotonic()) >= TRUST_S

    def _age_s(self, now: float) -> float:
        loaded_at = self._loaded_at
        return float("inf") if loaded_at is None else now - loaded_at

    def _reload(self) -> None:
        """Read the keys again where that is due; a ledger that hangs costs requests `_PATIENCE_S` in all."""
        now = self._clock.monotonic()
        age_s = self._age_s(now)
        if age_s < _AHEAD_S:
            return
        usable = age_s < max(TRUST_S, self._grace_s)
        reading, since = self._read_again(now, usable=usable)
        if age_s < RELOAD_S:
            return
        if self._loaded_at is not None:
            API_KEYS_AGE.set(age_s)
        try:
            reading.result(max(0.0, since + _PATIENCE_S - now) if usable else None)
        except (Unavailable, TimeoutError):
            if not usable:
                raise

    def _read_again(self, now: float, *, usable: bool) -> tuple[Future[None], float]:
        """The reading under way, or one that failed just now, or a new one; and when it began."""
        with self._lock:
            reading = self._reading
            if reading is None or (reading.done() and not (usable and self._failed_lately(reading, now))):
                reading = self._reading = Future()
                self._reading_since = now
                threading.Thread(target=self._read, args=(reading, now), name="api-keys", daemon=True).start()
            return reading, self._reading_since

    def _failed_lately(self, reading: Future[None], now: float) -> bool:
        return reading.exception() is not None and now - self._reading_since < _AHEAD_S

    def _read(self, reading: Future[None], now: float) -> None:
        try:
            self._load(now)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            reading.set_exception(error)
        else:
            reading.set_result(None)

    def _load(self, now: float) -> None:
        keys = list_keys(self._ledger)
        self._keys = {
            key.prefix: (key.secret_hash, Principal(key.prefix, frozenset(key.scopes), key.tenants))
            for key in keys
            if key.revoked_us is None
        }
        self._ever_had_a_key = self._ever_had_a_key or bool(keys)
        self._loaded_at = now
        API_KEYS_AGE.set(0)


def _not_known_now() -> Unavailable:
    return Unavailable(
        "The API keys cannot be read now, so nobody can tell whether this one still counts; try again."
    )


def _presented(authorization: str | None) -> str | None:
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip()).decode("ascii").partition(":")[2] or None
        except (Base64Error, UnicodeDecodeError):
            return None
    return None


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _checked_scopes(scopes: Sequence[str]) -> tuple[Scope, ...]:
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    if not chosen or len(set(scopes)) != len(chosen):
        raise UsageError(f"A key needs at least one scope, and only of these: {', '.join(SCOPES)}.")
    return chosen


def _checked_tenants(tenants: Sequence[str]) -> tuple[str, ...]:
    if not tenants:
        raise UsageError("A key needs at least one tenant, or all of them.")
    for tenant in tenants:
        problem = check_names(tenant, None)
        if problem is not None:
            raise UsageError(f"No key can be bound to the tenant {tenant!r}: {problem.detail}.")
    return tuple(sorted(set(tenants)))
