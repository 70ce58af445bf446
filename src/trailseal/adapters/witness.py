"""Asking a witness over HTTP."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

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
        key: see `Witness.key`.

    Attributes:
        url: as given.
    """

    def __init__(self, url: str, key: VerifierKey) -> None:
        self._parts = urlsplit(url)
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname:
            raise SettingsError(f"witnesses: {url!r} is no http or https URL.")
        self.url = url
        self._key = key

    @property
    def key(self) -> VerifierKey:
        """See `Witness.key`."""
        return self._key

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
            raise Unavailable(f"The witness {self._key.name} does not answer: {error}.") from error
        finally:
            connection.close()


def witnesses_from(text: str) -> tuple[HttpWitness, ...]:
    """The witnesses of a setting: ``URL VKEY``, several separated by commas.

    Raises:
        SettingsError: one of them is no URL and key.
    """
    return tuple(_witness(part.strip()) for part in text.split(",") if part.strip())


def _witness(text: str) -> HttpWitness:
    url, _, vkey = text.partition(" ")
    try:
        key = VerifierKey.parse(vkey.strip())
    except InvalidNote as error:
        raise SettingsError(f"witnesses: {text!r} is not `URL VKEY`: {error}.") from error
    if key.algorithm is Algorithm.ED25519:
        raise SettingsError(f"witnesses: the key of {key.name} signs notes, not cosignatures (type 04 or 06).")
    return HttpWitness(url, key)
