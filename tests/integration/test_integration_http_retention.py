"""Expired videos and files over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_service import JPEG, serving

from service.settings import ServiceSettings
from tests.servers import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SHORT_S = 0.05


def test_expired_video_and_file_are_410(tmp_path: Path) -> None:
    """What has passed its last day is told apart from what never was, by a code of its own for each kind."""
    settings = ServiceSettings(data_dir=tmp_path, retention_seconds=SHORT_S, file_retention_seconds=SHORT_S)
    with serving(settings) as service:
        video_id = service.create()["id"]
        service.finish()
        sent = {"file": ("a.jpg", JPEG)}
        file = service.client.post("/v1/files", data={"purpose": "image"}, files=sent).json()
        paths = (f"/v1/videos/{video_id}", f"/v1/files/{file['id']}")
        for path in paths:
            wait_until(lambda path=path: service.client.get(path).status_code == 410, what="expiry")  # type: ignore[misc]

        codes = {path: service.client.get(path).json()["code"] for path in (*paths, f"{paths[0]}/content")}
        asked = {
            suffix: service.client.request(method, f"{paths[0]}{suffix}").status_code
            for method, suffix in (("POST", "/cancel"), ("GET", "/events"), ("GET", "/content-url"), ("DELETE", ""))
        }
        asked["file"] = service.client.delete(paths[1]).status_code
        listed = service.client.get("/v1/videos").json()["data"]
        unknown = service.client.get("/v1/videos/video_none").status_code

    assert list(codes.values()) == ["video_expired", "file_expired", "content_expired"]
    assert file["expires_at"] >= file["created_at"]
    assert set(asked.values()) == {410}
    assert (listed, unknown) == ([], 404)
