"""Asking a witness over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from trailseal.errors import SettingsError, Unavailable
from trailseal.merkle.errors import InvalidNote
from trailseal.merkle.notes import Algorithm, VerifierKey
from trailseal.ports.witness import WitnessAnswer

_TIMEOUT_S = 10.0
_LARGEST_ANSWER = 64 << 10


class HttpWitness:
    """`Witness` at a URL: its submission prefix, below which ``add-checkpoint`` lies.

    Args:
        url: http or https.
        keys: see `Witness.keys`; at least one, all of one name.

    Attributes:
        url: as given.
    """

    def __init__(self, url: str, keys: Sequence[VerifierKey]) -> None:
        self._parts = _parts_of(url)
        self.url = url
        self._keys = tuple(keys)

    @property
    def name(self) -> str:
        """See `Witness.name`."""
        return self._keys[0].name

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """See `Witness.keys`."""
        return self._keys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """See `Witness.add_checkpoint`."""
        parts = self._parts
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", parts.path.rstrip("/") + "/add-checkpoint", body)
            answer = connection.getresponse()
            return WitnessAnswer(answer.status, answer.read(_LARGEST_ANSWER))
        except (OSError, HTTPException) as error:
            raise Unavailable(f"The witness {self.name} does not answer: {error}.") from error
        finally:
            connection.close()


def _parts_of(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and url.isascii()
    except ValueError:  # of a port or an address that is none
        usable = False
    if not usable:
        raise SettingsError(f"witnesses: {url!r} is no http or https URL.")
    return parts


def witnesses_from(text: str) -> tuple[HttpWitness, ...]:
    """The witnesses of a setting: ``URL VKEY``, several separated by commas; a witness may have several keys.

    Raises:
        SettingsError: one of them is no URL with keys of one name.
    """
    return tuple(_witness(part.strip()) for part in text.split(",") if part.strip())


def _witness(text: str) -> HttpWitness:
    url, *vkeys = text.split()
    try:
        keys = [VerifierKey.parse(vkey) for vkey in vkeys or [""]]
    except InvalidNote as error:
        raise SettingsError(f"witnesses: {text!r} is not `URL VKEY`: {error}.") from error
    for key in keys:
        if key.algorithm is Algorithm.ED25519:
            raise SettingsError(f"witnesses: the key of {key.name} signs notes, not cosignatures (type 04 or 06).")
        if key.name != keys[0].name:
            raise SettingsError(f"witnesses: {keys[0].name} and {key.name} are two witnesses: put a comma between.")
    return HttpWitness(url, keys)
