"""What PostgreSQL refuses and SQLite takes must be refused before either is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from access_door import JPEG, WAV, Door, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINT = {"url": "https://8.8.8.8/hook", "description": "\0"}
QUARANTINE = {"digest": "0" * 64, "reason": "a\0b"}


@pytest.fixture
def door(postgres_url: str, tmp_path: Path) -> Iterator[Door]:
    """An API on PostgreSQL that asks for no key."""
    with opened(tmp_path, database_url=postgres_url) as running:
        yield running


def test_nul_in_a_path_names_nothing(door: Door) -> None:
    """An id with a control character is 404, whatever it is an id of, and takes nobody else's poll along."""
    for path in (
        "videos/%00",
        "videos/a%00b/content",
        "files/%00",
        "shared/%00",
        "webhook-endpoints/%00",
        "videos/%0a",
    ):
        reply = door.client.get(f"/v1/{path}")
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), path
    assert door.client.post("/v1/uploads/%00/complete").status_code == 404


def test_nul_in_a_query_or_a_field_is_422(door: Door) -> None:
    """Text that could not be kept or looked for is a field that is wrong."""
    media = {"input_reference": ("cat.jpg", JPEG), "audio": ("meow.wav", WAV)}
    replies = [
        door.client.get("/v1/videos?after=%00"),
        door.client.get("/v1/webhook-deliveries?endpoint_id=a%00"),
        door.client.post("/v1/webhook-endpoints", json=ENDPOINT),
        door.client.post("/v1/admin/keys", json={"name": "\0"}),
        door.client.post("/v1/admin/quarantine", json=QUARANTINE),
        door.client.post("/v1/videos", data={"prompt": "a dog", "metadata": '{"a":"\\u0000"}'}, files=media),
        door.client.post("/v1/videos", data={"prompt": "a dog", "metadata[a]": "\0"}, files=media),
        door.client.post("/v1/videos", data={"prompt": "a dog", "model": "\0"}, files=media),
        door.client.post("/v1/files", files={"purpose": (None, "image\0")}),
        door.client.post("/v1/localizations", files={"audio_file_id": (None, "\0")}),
    ]

    assert [(reply.status_code, reply.json()["code"]) for reply in replies] == [(422, "validation_failed")] * 10
