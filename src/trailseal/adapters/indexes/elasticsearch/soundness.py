"""Whether searches find what documents say: for verification.

A document's terms follow from its ``_source`` and the mapping it was indexed under, so documents can be compared by
their source as long as that mapping was ours, always. Elasticsearch counts the changes of an index's mapping: an
index that was made from the template and never changed since stands at 1. Else somebody may have had a field copied
into another one, indexed a document anew and changed the mapping back, and no document would show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.months import Month

_AT_ONCE: Final = 64
_UNCHANGED: Final = 1
_TREE: Final = msgspec.json.Decoder(dict[str, Any])


def alterations(connection: Connection, months: Mapping[str, Month]) -> Iterator[str]:
    """One sentence for each thing about the months' indices that is not as it was made.

    Args:
        connection: to the cluster.
        months: those that are open.

    Raises:
        Unavailable: it does not answer, or does not allow to look.
    """
    names = sorted(months)
    for start in range(0, len(names), _AT_ONCE):
        some = {
            mapping.alias_name(connection.prefix, name): months[name] for name in names[start : start + _AT_ONCE]
        }
        yield from _aliases(connection, some)
        yield from _mappings(connection, [entry.index for entry in some.values()])


def _aliases(connection: Connection, months: Mapping[str, Month]) -> Iterator[str]:
    found = _asked(connection, f"/_alias/{','.join(months)}", allow={404})
    for alias, entry in months.items():
        behind = {name: told["aliases"][alias] for name, told in _indices(found) if alias in told["aliases"]}
        if set(behind) != {entry.index}:
            yield f"the alias {alias} stands for {', '.join(sorted(behind)) or 'nothing'} instead of {entry.index}"
        for name, options in behind.items():
            odd = sorted(options.keys() - {"is_write_index", "is_hidden"})
            if odd:
                yield f"the alias {alias} of {name} has {', '.join(odd)}, and lets searches find a part only"


def _mappings(connection: Connection, indices: list[str]) -> Iterator[str]:
    names = ",".join(indices)
    found = dict(_indices(_asked(connection, f"/{names}/_mapping?ignore_unavailable=true")))
    counted = _asked(
        connection,
        f"/_cluster/state/metadata/{names}?ignore_unavailable=true&filter_path=metadata.indices.*.mapping_version",
    )
    versions = counted.get("metadata", {}).get("indices", {})
    for name in indices:
        if name not in found:
            yield f"the index {name} is registered and not there"
        elif found[name]["mappings"] != mapping.MAPPING:
            yield f"the mapping of {name} is not the one it was made with"
        elif versions.get(name, {}).get("mapping_version") != _UNCHANGED:
            yield f"the mapping of {name} was changed and changed back; `trailseal reproject` makes the month anew"


def _asked(connection: Connection, target: str, allow: frozenset[int] | set[int] = frozenset()) -> dict[str, Any]:
    what = "a look at the months' indices"
    return decoded(_TREE, connection.request("GET", target, what=what, allow=allow), what)


def _indices(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Without what an answer says of names that are missing."""
    return [(name, told) for name, told in found.items() if isinstance(told, dict)]
