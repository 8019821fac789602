"""Signatures of webhooks as Standard Webhooks has them, over exactly the bytes that are sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SECRET_PREFIX = "whsec_"  # noqa: S105 - the word in front of a secret, not one
SECRET_BYTES = 32


def new_secret() -> str:
    """Make the secret that an endpoint and its receiver share: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(secrets_: Iterable[str], *, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that let a receiver check a webhook.

    Args:
        secrets_: every secret that is valid now; one signature for each, so that receivers may change over in peace.
        webhook_id: the same for every try, so that receivers can drop what they have had already.
        timestamp: unix seconds of this try.
        body: the bytes that are sent.
    Source: Standard Webhooks, "Signature scheme": HMAC-SHA256 over `id.timestamp.body`, base64, version `v1`.
    """
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    signatures = (_signature(secret, content) for secret in secrets_)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
