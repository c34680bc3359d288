"""Laws of addresses: a destination is on the public internet unless its declaration says otherwise."""

from __future__ import annotations

import socket

import pytest

from connectors.addresses import GuardedResolver, check_literal, is_public
from connectors.exchange import AddressRefused

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1",
    "100::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    """Mapped ones count as what they map."""
    assert is_public(address)
    check_literal(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_everything_else_is_refused(address: str) -> None:
    """Private, loopback, link-local (and metadata services), carrier NAT, tunnels, multicast, reserved."""
    assert not is_public(address)
    with pytest.raises(AddressRefused):
        check_literal(address if ":" not in address else f"[{address}]")


def test_names_pass_until_they_are_resolved() -> None:
    """What they resolve to decides."""
    check_literal("localhost")
    check_literal("2130706433.example")


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f000001"])
async def test_a_name_for_a_private_address_is_refused_when_it_is_resolved(name: str) -> None:
    """Also where a number is only written as a name."""
    with pytest.raises(AddressRefused):
        await GuardedResolver(allow_private=False).resolve(name, 80, socket.AF_INET)
    (found, *_) = await GuardedResolver(allow_private=True).resolve(name, 80, socket.AF_INET)
    assert found["host"] == "127.0.0.1"
