"""What the API tells Prometheus, and whom it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.settings import ServiceSettings
from workers.access import OPERATOR, USUAL_SCOPES, Limits, Scope
from workers.job_store import open_job_store
from workers.key_store import KeyStore

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import pytest
    from http_service import Service

OWN = {"Host": "127.0.0.1:8000"}  # an open server tells only who calls it by its own name
HTTP_COUNT = "keyvid_http_request_seconds_count"


def _scrape(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by name and labels."""
    reply = client.get("/metrics", headers=OWN)
    assert reply.status_code == 200, reply.text
    families = text_string_to_metric_families(reply.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _of(samples: dict[Any, float], name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def test_queue_and_answers_are_told(service: Service) -> None:
    """Jobs by status come from the database, answers by route template and status from this process."""
    labels = {"method": "GET", "route": "/v1/videos/{video_id}", "status": "200"}
    before = REGISTRY.get_sample_value(HTTP_COUNT, labels) or 0.0
    video = service.create()
    service.client.get(f"/v1/videos/{video['id']}")

    samples = _scrape(service.client)

    assert _of(samples, HTTP_COUNT, **labels) == before + 1
    assert _of(samples, "keyvid_jobs", status="queued") == 1
    assert _of(samples, "keyvid_database_up") == 1
    assert _of(samples, "keyvid_build_info", version="0.1.0") == 1


def test_no_label_is_a_callers(service: Service) -> None:
    """Ids, prompts, unknown paths and invented methods make no series of their own."""
    video = service.create()
    for path in (f"/v1/videos/{video['id']}", "/v1/videos/video_unknown", "/nowhere/42", "/.env"):
        service.client.get(path)
    service.client.request("BREW", "/v1/videos")

    samples = _scrape(service.client)

    labels = {(name, value) for _, pairs in samples for name, value in pairs}
    shown = {value for name, value in labels if name == "route"}
    assert "BREW" not in {value for name, value in labels if name == "method"}
    assert ("method", "other") in labels
    assert not any(word in value for value in shown for word in ("video_0", "42", ".env", "unknown_"))
    assert not any("dog" in value for _, value in labels)


def test_scrape_needs_a_key_where_others_do(tmp_path: Path) -> None:
    """A key of the scope `metrics` or `admin` is let in, a tenant's is not."""
    settings = ServiceSettings(data_dir=tmp_path, auth="required")
    store = open_job_store(settings)
    keys = KeyStore(store.database, default_limits=Limits())

    def status(*scopes: Scope) -> int:
        _, secret = keys.create(tenant="acme", name="n", scopes=scopes, actor=OPERATOR)
        return client.get("/metrics", headers={"Authorization": f"Bearer {secret}"}).status_code

    with TestClient(create_app(settings)) as client:
        assert client.get("/metrics").status_code == 401
        assert [status(*USUAL_SCOPES), status(Scope.METRICS), status(Scope.ADMIN)] == [403, 200, 200]
    store.close()


def test_outage_of_the_database_is_a_metric(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape succeeds while the database is away, and says so."""
    from workers.errors import StoreUnavailable

    def away(_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr("service.metrics.take_census", away)

    samples = _scrape(service.client)

    assert _of(samples, "keyvid_database_up") == 0
    assert not any(name == "keyvid_jobs" for name, _ in samples)


def test_openmetrics_is_told_to_who_asks(service: Service) -> None:
    """A scraper that accepts it gets the newer form."""
    reply = service.client.get("/metrics", headers={**OWN, "Accept": "application/openmetrics-text; version=1.0.0"})

    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")
