"""Internet addresses in one spelling, and networks as ranges of them."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

_MAPPED_BITS: Final = 96
_CANONICAL_V4: Final = re.compile(
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
)
_MASK_LENGTH: Final = re.compile(r"[0-9]{1,3}")


@lru_cache(maxsize=16384)
def canonical_address(text: str) -> str | None:
    """The one spelling of an address (RFC 5952 for IPv6), or None where the text is no address.

    An IPv4-mapped IPv6 address (``::ffff:10.0.0.1``) is its IPv4 form. A zone (``fe80::1%eth0``) makes it no
    address: the name of an interface means nothing away from its host.
    """
    if _CANONICAL_V4.fullmatch(text):
        return text
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def network_range(text: str) -> tuple[str, str]:
    """First and last address of a network in CIDR notation, or of a single address (twice the same).

    Bits behind the mask are ignored (``10.1.2.3/8`` is ``10.0.0.0/8``). A network inside ``::ffff:0:0/96`` is its
    IPv4 form.

    Returns:
        Canonical texts of one family.

    Raises:
        ValueError: neither an address nor a network; the message names the rule.
    """
    base, slash, mask = text.partition("/")
    address = canonical_address(base)
    if address is None:
        raise ValueError("not an IP address or a network such as 10.0.0.0/8 or 2001:db8::/32")
    if not slash:
        return address, address
    if not _MASK_LENGTH.fullmatch(mask):
        raise ValueError("what follows the slash must be a number of bits, as in 10.0.0.0/8")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("the network has more bits than an address of its family (32 or 128)") from None
    first, last = network[0], network[-1]
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= _MAPPED_BITS:
        return str(first.ipv4_mapped), str(ipaddress.IPv6Address(int(last)).ipv4_mapped)
    return str(first), str(last)
