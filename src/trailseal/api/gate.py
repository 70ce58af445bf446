"""Who may come in: API keys and, as long as there never was one, the rules that keep a keyless server private."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from trailseal.api.credentials import Authenticator, Principal
from trailseal.api.problems import Refusal
from trailseal.errors import Unavailable

_HOW = "make one with `trailseal api-keys create`."
OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/errors", "/assets/<name>"})
"""Routes that hold nothing of anybody's and answer without a key."""
FAILURE = "trailseal.failure"
"""Where the WSGI environment holds what went wrong before Flask saw the request."""
STARTED = "trailseal.started"
"""Where it holds when the request came, by `time.perf_counter`."""
_PRINCIPAL = "trailseal.principal"


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, names this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def admit(
    environ: dict[str, Any],
    route: str | None,
    authenticator: Authenticator,
    open_routes: frozenset[str] = OPEN_ROUTES,
) -> None:
    """Let the request in, and note who asks, or refuse it.

    Args:
        environ: the WSGI environment.
        route: the rule that matched, or None.
        authenticator: knows the keys.
        open_routes: those that need none.

    Raises:
        NotAuthenticated: keys exist, and the request brings no valid one.
        Refusal: the server is keyless and the request might not come from this machine's own user.
        Unavailable: the keys cannot be read now.
    """
    try:
        keyless = authenticator.keyless()
    except Unavailable:
        if route in open_routes:
            return
        raise
    if keyless:
        _refuse_strangers(environ)
    if keyless or route not in open_routes:
        environ[_PRINCIPAL] = authenticator.authenticate(environ.get("HTTP_AUTHORIZATION"))


def principal_of(environ: Mapping[str, Any]) -> Principal:
    """Who asks; only behind `admit`."""
    principal: Principal = environ[_PRINCIPAL]
    return principal


def _refuse_strangers(environ: Mapping[str, Any]) -> None:
    """Only this machine's own user may ask a keyless server.

    A web page cannot forge ``Host``, so a loopback name there rules out DNS rebinding; a forwarding header means a
    proxy, behind which anybody may sit.
    """
    if not _is_local_name(environ.get("HTTP_HOST", "")):
        detail = f"Without API keys this server answers only to localhost, 127.0.0.1 or [::1] as Host; {_HOW}"
        raise Refusal(403, "host-not-loopback", detail)
    if not _is_local_address(environ.get("REMOTE_ADDR", "")):
        detail = f"Without API keys this server answers only to this machine; {_HOW}"
        raise Refusal(403, "host-not-loopback", detail)
    for name in environ:
        if name.startswith("HTTP_X_FORWARDED") or name == "HTTP_FORWARDED":
            detail = f"Without API keys this server does not answer through a proxy; {_HOW}"
            raise Refusal(403, "forwarded-without-keys", detail)


@lru_cache(maxsize=256)
def _is_local_name(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_loopback(name)


@lru_cache(maxsize=256)
def _is_local_address(address: str) -> bool:
    return is_loopback(address.rpartition(":")[0] if address.count(":") == 1 else address)
