"""Where a webhook may go: public addresses only, so that nobody can make this server speak to its own network.

The name is resolved here, once for each try, and the connection goes to the addresses that were checked.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workers.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Resolve = Callable[[str, int], Sequence[str]]

PUBLIC_PORTS = (443, 8443)
DEFAULT_PORTS = {"https": 443, "http": 80}
MAX_URL = 2000
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # leaves out NAT64, which could lead to any IPv4 address
_USABLE_URL = re.compile(r"[!-~]+")


class TargetRefused(WorkerError):
    """Webhooks may not go to this address."""


class TargetUnknown(WorkerError):
    """The name of the webhook's host does not resolve."""


@dataclass(frozen=True, slots=True)
class Target:
    """One webhook URL, taken apart. `is_private_allowed`: the operator named this host as one of its own."""

    scheme: str
    host: str
    port: int
    path: str
    is_private_allowed: bool

    @property
    def host_header(self) -> str:
        """Host and port as HTTP names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str, *, private_hosts: Collection[str]) -> Target:
    """Take a webhook URL apart.

    Args:
        url: absolute; https on a usual port, without a user.
        private_hosts: hosts that may also be private, on any port and over plain http.
    Raises: TargetRefused, with words for the caller.
    """
    if len(url) > MAX_URL or not _USABLE_URL.fullmatch(url):
        raise TargetRefused(f"Send a URL of at most {MAX_URL} printable ASCII characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise TargetRefused("This is not a URL.") from error
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise TargetRefused("Send an https URL with a host.")
    if "@" in parts.netloc:
        raise TargetRefused("Leave user and password out of the URL: webhooks are signed instead.")
    is_private_allowed = host in private_hosts
    if not is_private_allowed:
        if parts.scheme != "https":
            raise TargetRefused("Webhooks go over https.")
        if port not in (None, *PUBLIC_PORTS):
            raise TargetRefused(f"Webhooks go to port {' or '.join(map(str, PUBLIC_PORTS))}.")
    path = parts.path or "/"
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        path=f"{path}?{parts.query}" if parts.query else path,
        is_private_allowed=is_private_allowed,
    )


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a host by the system's resolver, which also reads notations such as `0x7f.1`.

    Raises: TargetUnknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TargetUnknown from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(target: Target, *, resolve: Resolve = look_up) -> Sequence[str]:
    """The addresses a connection to this target may be made to: all of its host's, or none.

    Raises: TargetRefused when any of them is not public; TargetUnknown.
    """
    addresses = resolve(target.host, target.port)
    if not target.is_private_allowed and not all(is_public(address) for address in addresses):
        raise TargetRefused
    return addresses


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the public internet; addresses that carry another inside them do not count."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        is_carrier = address.ipv4_mapped or address.sixtofour or address.teredo
        return bool(address.is_global and address in _GLOBAL_UNICAST and not is_carrier)
    return address.is_global and not address.is_multicast
