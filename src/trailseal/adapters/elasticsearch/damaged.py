"""Documents that somebody changed so that they are no longer what we write, told from answers that were cut off."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from trailseal.errors import IntegrityViolation

_PLACE: Final = re.compile(r"`\$\.(?:hits\.hits|docs)\[(\d+)\]\.(?:_source|sort)\b\.?([\w.\[\]]*)`")
_NAMES: Final = ("_index", "_id", "log", "partition", "offset", "size", "name")


def damage_in(body: bytes, error: Exception, what: str) -> IntegrityViolation | None:
    """What to raise where an answer is whole, but for a document in it; None where the answer itself is at fault.

    Args:
        body: of the answer.
        error: why it could not be decoded, as msgspec says it.
        what: was asked for.
    """
    try:
        documents = _documents(json.loads(body))
    except (ValueError, RecursionError):
        return None
    found = _PLACE.search(str(error))
    damaged = [documents[int(found[1])]] if found else [one for one in documents if not _is_unicode(one)]
    if not damaged:
        return None
    field = found[2] if found else ""
    return IntegrityViolation(
        f"A document in Elasticsearch's answer to {what} ({_named(damaged[0])}) holds in {field or 'a field'} what"
        " Trailseal never writes there: restore it from a snapshot, then run `trailseal verify`."
    )


def _documents(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict):
        return []
    if "_source" in answer:
        return [answer]
    documents: list[dict[str, Any]] = answer.get("docs") or answer.get("hits", {}).get("hits", [])
    return documents


def _is_unicode(document: dict[str, Any]) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can spell, and no text can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(document: dict[str, Any]) -> str:
    source = document.get("_source")
    told = document | (source if isinstance(source, dict) else {})
    names = [f"{name} {told[name]!r}" for name in _NAMES if isinstance(told.get(name), int | str)]
    return ", ".join(names) or f"sorted as {document.get('sort')}"
