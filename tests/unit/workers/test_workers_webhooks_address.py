"""Where webhooks may go, and where not, however the address is written."""

from __future__ import annotations

import pytest

from workers.webhooks.address import (
    TargetRefused,
    TargetUnknown,
    checked_addresses,
    is_public,
    look_up,
    parse_target,
)

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - refused, not listened on
        "255.255.255.255",
        "224.0.0.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.215.14",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
    ],
)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, reserved, and addresses with others inside them."""
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_address_is_allowed(address: str) -> None:
    """Addresses of the internet."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://example.com:6379/",
        "https://example.com:99999/",
        "https:///path",
        "https://[::1/",
        "//example.com/",
        "example.com",
        "https://example.com/\r\nX: y",
        "https://exa mple.com/",
        "https://ex\u00e4mple.com/",
        "https://example.com/" + "a" * 2000,
        "",
    ],
)
def test_url_that_cannot_be_used_is_refused(url: str) -> None:
    """Another scheme, a user, another port, and what is no URL."""
    with pytest.raises(TargetRefused):
        parse_target(url, private_hosts=())


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]"])
def test_notations_of_the_loopback_address_are_seen_through(host: str) -> None:
    """The system's own resolver reads them, and what it says is checked."""
    target = parse_target(f"https://{host}/", private_hosts=())

    with pytest.raises((TargetRefused, TargetUnknown)):
        checked_addresses(target, resolve=look_up)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    """A name that leads to both could be steered to the private one."""
    target = parse_target("https://both.example/", private_hosts=())

    with pytest.raises(TargetRefused):
        checked_addresses(target, resolve=lambda *_: [PUBLIC, "10.0.0.1"])
    assert checked_addresses(target, resolve=lambda *_: [PUBLIC]) == [PUBLIC]


def test_operators_own_hosts_are_allowed_by_name() -> None:
    """A host on the list may be private, plain and on any port; no other one may."""
    target = parse_target("http://hooks.internal:8080/a?b=c", private_hosts=("hooks.internal",))

    assert (target.host, target.port, target.path) == ("hooks.internal", 8080, "/a?b=c")
    assert target.host_header == "hooks.internal:8080"
    assert checked_addresses(target, resolve=lambda *_: ["10.0.0.1"]) == ["10.0.0.1"]
    with pytest.raises(TargetRefused):
        parse_target("http://hooks.internal.evil.example/", private_hosts=("hooks.internal",))


def test_name_that_does_not_resolve_is_told_apart() -> None:
    """It may resolve tomorrow: that is no refusal."""
    with pytest.raises(TargetUnknown):
        look_up("no-such-host.invalid", 443)
