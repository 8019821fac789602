"""Signatures of webhooks, checked by the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from workers.webhooks.signature import new_secret, signed_headers

BODY = b'{"type":"video.completed","data":{"id":"video_1"}}'


def _headers(*secrets: str, timestamp: int | None = None) -> dict[str, str]:
    moment = int(time.time()) if timestamp is None else timestamp
    return signed_headers(secrets, webhook_id="delivery_1", timestamp=moment, body=BODY)


def test_receivers_library_accepts_the_bytes_that_were_signed() -> None:
    """The published verifier takes our headers, and refuses a changed body, id, time or secret."""
    secret = new_secret()
    headers = _headers(secret)

    assert Webhook(secret).verify(BODY, headers)["type"] == "video.completed"
    late = str(int(headers["webhook-timestamp"]) + 1)
    for body, sent, key in (
        (BODY + b" ", headers, secret),
        (BODY, {**headers, "webhook-id": "delivery_2"}, secret),
        (BODY, {**headers, "webhook-timestamp": late}, secret),
        (BODY, headers, new_secret()),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, sent)


def test_during_a_rotation_both_secrets_verify() -> None:
    """A receiver may hold either the new secret or the one before."""
    old, new = new_secret(), new_secret()

    headers = _headers(new, old)

    assert Webhook(old).verify(BODY, headers) == Webhook(new).verify(BODY, headers)


def test_secrets_are_as_long_as_promised_and_never_the_same() -> None:
    """32 random bytes behind the prefix."""
    first, second = new_secret(), new_secret()

    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    assert first != second
