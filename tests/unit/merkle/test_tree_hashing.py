"""Values published with transparency-dev/merkle (testonly/constants.go, compact/range_test.go)."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.merkle.errors import InvalidEncoding
from trailseal.merkle.frontier import Frontier
from trailseal.merkle.hash import (
    EMPTY_ROOT,
    leaf_hash,
    leaf_hashes,
    node_hash,
    paired_hashes,
    range_root,
    split_hashes,
)
from unit.merkle.recursive_tree import PUBLISHED_LEAVES, numbered_entries, tree_root

PUBLISHED_NODES = [
    [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1",
    ],
    [
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    ],
    [
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    ["5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
GOLDEN_ROOTS = {
    10: "VjWMPSYNtCuCNlF/RLnQy6HcwSk6CIipfxm+hettA+4=",
    15: "j4SulYmocFuxdeyp12xXCIgK6PekBcxzAIj4zbQzNEI=",
    16: "c+4Uc6BCMOZf/v3NZK1kqTUJe+bBoFtOhP+P3SayKRE=",
    100: "dUh9hYH88p0CMoHkdr1wC2szbhcLAXOejWpINIooKUY=",
    255: "SmdsuKUqiod3RX2jyF2M6JnbdE4QuTwwipfAowI4/i0=",
    256: "qFI0t/tZ1MdOYgyPpPzHFiZVw86koScXy9q3FU5casA=",
    1000: "RXrgb8xHd55Y48FbfotJwCbV82Kx22LZfEbmBGAvwlQ=",
    4095: "cWRFdQhPcjn9WyBXE/r1f04ejxIm5lvg40DEpRBVS0w=",
    4096: "6uU/phfHg1n/GksYT6TO9aN8EauMCCJRl3dIK0HDs2M=",
    10000: "VZcav65F9haHVRk3wre2axFoBXRNeUh/1d9d5FQfxIg=",
    65535: "iPuVYJhP6SEE4gUFp8qbafd2rYv9YTCDYqAxCj8HdLM=",
}


def test_the_eight_published_leaves_give_the_published_nodes_of_every_level() -> None:
    level = leaf_hashes(PUBLISHED_LEAVES)
    for published in PUBLISHED_NODES:
        assert [node.hex() for node in level] == published
        level = paired_hashes(level)


def test_the_eight_published_leaves_give_the_published_roots_of_every_size() -> None:
    leaves = [leaf_hash(entry) for entry in PUBLISHED_LEAVES]
    assert [range_root(leaves[:size]).hex() for size in range(9)] == PUBLISHED_ROOTS


@pytest.mark.parametrize("size", GOLDEN_ROOTS)
def test_golden_roots_come_out_of_the_frontier_and_of_the_range(size: int) -> None:
    leaves = leaf_hashes(numbered_entries(size))
    golden = b64decode(GOLDEN_ROOTS[size])
    assert range_root(leaves) == golden
    assert Frontier().extended(leaves).root() == golden


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=70))
def test_a_range_root_equals_the_recursive_definition(entries: list[bytes]) -> None:
    assert range_root(leaf_hashes(entries)) == tree_root(entries)


def test_a_leaf_is_never_hashed_like_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"") != EMPTY_ROOT


def test_hashes_that_were_joined_come_apart_again_and_a_torn_one_is_refused() -> None:
    hashes = leaf_hashes(numbered_entries(5))
    assert split_hashes(b"".join(hashes)) == hashes
    with pytest.raises(InvalidEncoding, match="no whole number"):
        split_hashes(b"".join(hashes)[:-1])
