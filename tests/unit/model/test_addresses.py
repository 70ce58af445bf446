"""Addresses and networks, against the standard library's ipaddress."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailseal.model.addresses import canonical_address, network_range

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


def ordered(text: str) -> tuple[int, int]:
    address = ipaddress.ip_address(text)
    return address.version, int(address)


@given(v4)
def test_an_ipv4_address_is_its_own_spelling(address: ipaddress.IPv4Address) -> None:
    assert canonical_address(str(address)) == str(address)


@given(v4)
def test_a_mapped_address_is_its_ipv4_form(address: ipaddress.IPv4Address) -> None:
    assert canonical_address(f"::ffff:{address}") == str(address)
    assert canonical_address(f"0:0:0:0:0:FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}") == str(address)


@given(v6)
def test_all_spellings_of_an_ipv6_address_are_one(address: ipaddress.IPv6Address) -> None:
    expected = str(address.ipv4_mapped or address)
    assert canonical_address(address.exploded.upper()) == canonical_address(address.compressed) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AWS Internal",
        "10.0.0",
        "10.0.0.01",
        "10.0.0.256",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "fe80::1%eth0",
        "\u0661.2.3.4",
        ":::",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert canonical_address(text) is None


@given(st.one_of(v4, v6), st.data())
def test_a_network_holds_exactly_what_ipaddress_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    bits = data.draw(st.integers(0, address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    first, last = network_range(f"{address}/{bits}")
    assert ordered(first)[0] == ordered(last)[0]
    if ordered(first)[0] == network.version:
        assert (int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))) == (
            int(network[0]),
            int(network[-1]),
        )
    assert ordered(first) <= ordered(canonical_address(str(address)) or "") <= ordered(last) or bits < 96


def test_a_mapped_network_is_its_ipv4_form() -> None:
    assert network_range("::ffff:10.1.2.3/104") == ("10.0.0.0", "10.255.255.255")
    assert network_range("::/0") == ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")


def test_a_single_address_is_a_range_of_one() -> None:
    assert network_range("::ffff:10.1.2.3") == ("10.1.2.3", "10.1.2.3")


@pytest.mark.parametrize(
    "text",
    ["", "x", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/255.0.0.0", "10.0.0.0/8/8", "10.0.0.0/-1"],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        network_range(text)
