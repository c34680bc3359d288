"""Which addresses a destination may have: a webhook URL must not be a way into our own network (SSRF).

Every address that a name resolves to is checked when connecting, and the connection goes to an address that
was checked, so that a second look-up cannot change the answer in between.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from connectors.exchange import AddressRefused

# Addresses that carry an IPv4 address inside, and so reach wherever a gateway takes them.
_TUNNELS = tuple(
    IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
# SRv6 segment identifiers; what was once site-local.
_NEVER_PUBLIC = tuple(IPv6Network(network) for network in ("5f00::/16", "fec0::/10"))


def is_public(address: str) -> bool:
    """Whether an IP address (text, perhaps with a zone) belongs to the public internet."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        if any(parsed in network for network in (*_TUNNELS, *_NEVER_PUBLIC)):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def check_literal(host: str) -> None:
    """Raises AddressRefused if `host` is an address that is not public. Names are checked when resolved."""
    try:
        public = is_public(host.strip("[]"))
    except ValueError:
        return
    if not public:
        raise AddressRefused("the destination's address is not public")


class GuardedResolver(AbstractResolver):
    """Resolves a name through the system, and refuses it if any of its addresses is not public."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError if the name has no address, AddressRefused if one of them is not public."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        results: list[ResolveResult] = []
        for its_family, _type, protocol, _name, sockaddr in found:
            address = str(sockaddr[0])
            if not self._allow_private and not is_public(address):
                raise AddressRefused("one of the destination's addresses is not public")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=its_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held open."""
