"""Who can reach this server, and whether it may start without keys."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from workers.database import Database, upgrade
from workers.key_store import KeyStore
from workers.quota import default_limits

if TYPE_CHECKING:
    from service.settings import ServiceSettings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`; a name other than localhost counts as no."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_not_open(settings: ServiceSettings) -> str | None:
    """Why the server must not start, in one line that says what to do; None when it may.

    Raises: StoreUnavailable.
    """
    if settings.auth != "auto" or is_loopback(settings.host):
        return None
    upgrade(settings.database_url)
    database = Database(settings.database_url)
    try:
        if KeyStore(database, default_limits=default_limits(settings)).has_keys():
            return None
    finally:
        database.close()
    return (
        f"Others can reach {settings.host or 'every address'} and there is no API key: make one with"
        " `keyvid keys create`, listen on 127.0.0.1, or set KEYVID_AUTH=gateway if a gateway in front checks who calls."
    )
