"""Which addresses a fetch may connect to: the public ones, and those of networks that the administrator lists.

The decision is made about the very address that is connected to: a name is resolved once, so that a second answer of
its DNS server (rebinding) has no say.
"""

import ipaddress
import socket
from collections.abc import Sequence

from deepseek_runtime.fetch.troubles import TransientError
from deepseek_runtime.job.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0

_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",
            "fe80::/10",
            "168.63.129.16/32",
            "0.0.0.0/8",
            "::/128",
            "224.0.0.0/4",
            "ff00::/8",
            "fec0::/10",
        ),
    )
)
"""Link-local and the metadata services of clouds, unspecified, multicast: no list of networks can allow them."""

_EMBEDDING = ipaddress.ip_network("64:ff9b::/96")  # NAT64 (RFC 6052): the last 32 bits are an IPv4 address
_TUNNELS = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))  # 6to4, Teredo


def permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a fetch may connect to an address."""
    real = _embedded(address)
    if any(real in network for network in _NEVER):
        return False
    if vouched(real, allowed):
        return True
    return real.is_global and not real.is_multicast and not any(real in network for network in _TUNNELS)


def vouched(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether the administrator listed a network with this address."""
    real = _embedded(address)
    return any(real in network for network in allowed)


def connect(host: str, port: int, allowed: Sequence[Network]) -> tuple[socket.socket, Address]:
    """A TCP connection to the first permitted address of a host that answers.

    Errors: ConfigurationError `AddressRefused` where no address is permitted; TransientError where none answers.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransientError("SourceUnreachable", f"the name {host} cannot be resolved: {error}") from error
    candidates = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    good = [address for address in candidates if permitted(address, allowed)]
    if not good:
        raise ConfigurationError(
            "AddressRefused",
            f"{host} is {', '.join(map(str, candidates))}: link-local, loopback and private addresses are not fetched "
            "from. An administrator can allow a network of mirrors by the chart's value fetch.allowedNetworks.",
        )
    last: OSError | None = None
    for address in good:
        try:
            connected = socket.create_connection((str(address), port), timeout=CONNECT_SECONDS)
        except OSError as error:
            last = error
            continue
        connected.settimeout(READ_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected, address
    raise TransientError("SourceUnreachable", f"{host}:{port} does not answer: {last}")


def _embedded(address: Address) -> Address:
    """The IPv4 address within an IPv6 one that means it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _EMBEDDING:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
