"""A caller who means an API no good, and remembers what it was answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx

    from tests.api_process import ApiProcess

CANARY = "canary-7d41f0a95c"
BODY_LIMIT = 5_000_000
GOOD: Mapping[str, str | bytes] = {
    "prompt": "a dog barks",
    "input_reference": uploads.jpeg(),
    "audio": uploads.wav(),
}


@dataclass
class Attacker:
    """Sends what should not be sent, and remembers every answer."""

    api: ApiProcess
    canary: Path
    client: httpx.Client
    answers: list[httpx.Response] = field(default_factory=list)

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        """Send anything."""
        answer = self.client.request(method, path, **options)  # type: ignore[arg-type]
        self.answers.append(answer)
        return answer

    def create(self, **changes: str | bytes) -> httpx.Response:
        """Ask for a video: text becomes a field, bytes become a file."""
        parts = {**GOOD, **changes}
        fields = [(name, (None, text)) for name, text in parts.items() if isinstance(text, str)]
        files = [(name, ("upload", data)) for name, data in parts.items() if isinstance(data, bytes)]
        return self.request("POST", "/v1/videos", files=[*fields, *files])

    def send_file(self, data: bytes, *, filename: str = "upload.wav", purpose: str = "user_data") -> httpx.Response:
        """Send a file alone."""
        files = [("purpose", (None, purpose)), ("file", (filename, data))]
        return self.request("POST", "/v1/files", files=files)

    def refused(self, answer: httpx.Response, status: int, code: str) -> None:
        """Insist that a request was refused in this way."""
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
