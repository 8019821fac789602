"""A Python client that openapi-python-client makes from the OpenAPI document, used against a running service."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import uploads
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = Path(__file__).parents[2] / "clients" / "openapi-python-client.yaml"
PACKAGE = "keyvid_generated"


@pytest.fixture(scope="module")
def module(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Imports a module of the client that was generated, without a warning, from what the service serves."""
    folder = tmp_path_factory.mktemp("generated")
    document = folder / "openapi.json"
    document.write_bytes(httpx.get(f"{url}/openapi.json").raise_for_status().content)
    command = [str(Path(sys.executable).parent / "openapi-python-client"), "generate", "--fail-on-warning"]
    arguments = ["--path", str(document), "--config", str(CONFIG), "--output-path", str(folder / PACKAGE)]
    made = subprocess.run([*command, *arguments, "--meta", "none"], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="module")
def client(module: Callable[[str], Any], url: str) -> Iterator[Any]:
    """A generated client; a service on this machine does not look at the token."""
    with module("client").AuthenticatedClient(base_url=url, token="none") as client:
        yield client


def test_generated_client_makes_a_video(module: Callable[[str], Any], client: Any) -> None:
    """Two files, numbers and JSON in one form; then polls, a list, the MP4, and an end."""
    models, file = module("models"), module("types").File
    form = models.CreateVideo(
        prompt="a dog barks",
        input_reference=file(io.BytesIO(uploads.jpeg()), "dog.jpg", "image/jpeg"),
        audio=file(io.BytesIO(uploads.wav(2.0)), "bark.wav", "audio/wav"),
        seed=7,
        guidance_audio=2.5,
        metadata=json.dumps({"app": "generated"}),
    )

    video = module("api.videos.create_video").sync(client=client, body=form, idempotency_key="generated-1")
    again = module("api.videos.get_video")
    wait_until(lambda: again.sync(video.id, client=client).status == models.JobStatus.COMPLETED, what="a video")
    done = again.sync(video.id, client=client)
    listed = module("api.videos.list_videos").sync(client=client, status=models.ListVideosStatus.COMPLETED)
    content = module("api.videos.download_video").sync(video.id, client=client)
    thumbnail = module("api.videos.download_video").sync(
        video.id, client=client, variant=models.DownloadVideoVariant.THUMBNAIL
    )
    deleted = module("api.videos.delete_video").sync(video.id, client=client)

    assert isinstance(video, models.Video)
    assert (done.seed, done.parameters.guidance_audio, done.progress) == (7, 2.5, 100)
    assert done.metadata.additional_properties == {"app": "generated"}
    assert video.id in [item.id for item in listed.data]
    assert len(content.payload.read()) == done.output.bytes_
    assert thumbnail.payload.read().startswith(b"\xff\xd8")
    assert deleted.deleted


def test_generated_client_sends_files_ahead(module: Callable[[str], Any], client: Any) -> None:
    """A file that is sent alone can be used, read and deleted."""
    models, file = module("models"), module("types").File
    body = models.CreateFile(
        file=file(io.BytesIO(uploads.wav(1.0)), "bark.wav", "audio/wav"), purpose=models.CreateFilePurpose.AUDIO
    )

    kept = module("api.files.create_file").sync(client=client, body=body)

    assert module("api.files.get_file").sync(kept.id, client=client).media.duration_s == 1.0
    assert module("api.files.delete_file").sync(kept.id, client=client).deleted


def test_generated_client_reads_problems(module: Callable[[str], Any], client: Any) -> None:
    """What is refused is a typed Problem, not an exception of the parser."""
    models = module("models")

    refused = module("api.videos.create_video").sync(client=client, body=models.CreateVideo(prompt="x", seed=-1))
    missing = module("api.videos.get_video").sync("video_none", client=client)

    assert isinstance(refused, models.Problem)
    assert (refused.status, refused.code) == (422, "validation_failed")
    assert "/seed" in {error.pointer for error in refused.errors}
    assert (missing.code, missing.error.type_) == ("not_found", "invalid_request_error")


def test_generated_client_reads_everything_else(module: Callable[[str], Any], client: Any) -> None:
    """Models, usage, webhooks and the operator's lists parse as what they are documented to be."""
    models = module("models")
    reads = {
        "models.list_models": "ModelList",
        "usage.get_usage": "Usage",
        "health.get_readiness": "Readiness",
        "webhooks.list_webhook_endpoints": "WebhookEndpointList",
        "webhooks.list_webhook_deliveries": "WebhookDeliveryList",
        "admin.list_workers": "WorkerList",
        "admin.list_dead_jobs": "DeadJobList",
        "admin.list_quarantine": "QuarantineList",
        "admin.list_audit": "AuditList",
        "admin.list_keys": "ApiKeyList",
        "admin.list_tenants": "TenantList",
    }

    for operation, kind in reads.items():
        assert isinstance(module(f"api.{operation}").sync(client=client), getattr(models, kind)), operation
