"""The HTTP API's contract: its snapshot, and what a change to it may be."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from tests.openapi_surface import RELEASED, SNAPSHOT, growth, surface, unnamed

CHANGELOG = Path(__file__).parents[3] / "CHANGELOG.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as served."""
    return create_app().openapi()


@pytest.fixture
def changed(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of the document for a test to change."""
    return copy.deepcopy(document)


@pytest.fixture(scope="module")
def released() -> list[str]:
    """The surface of the last release."""
    return RELEASED.read_text().splitlines()


def test_snapshot_is_what_is_served(document: dict[str, Any]) -> None:
    """A change to the API is a change to clients/openapi.json that a reviewer sees."""
    kept = json.loads(SNAPSHOT.read_text())
    differing = [
        path for path in {*document["paths"], *kept["paths"]} if document["paths"].get(path) != kept["paths"].get(path)
    ]

    assert document == kept, (
        f"the HTTP API has changed ({sorted(differing)}): run `make openapi` and commit clients/openapi.json"
    )


def test_api_only_grows_within_v1(document: dict[str, Any], released: list[str]) -> None:
    """Whoever was served by the last release is served now: nothing is gone or stricter."""
    assert growth(released, surface(document)).broken == [], "v1 only grows: keep what was there, or make it wider"


def test_growth_is_named_in_the_changelog(document: dict[str, Any], released: list[str]) -> None:
    """Users read of every new operation, parameter, field and value under *Unreleased*."""
    unreleased = CHANGELOG.read_text().partition("## Unreleased")[2].partition("\n## ")[0]

    missing = unnamed(growth(released, surface(document)), unreleased, released)

    assert missing == [], "name these under *Unreleased* in CHANGELOG.md: paths as `/v1/...`, the rest by its name"


def test_taking_away_is_found(changed: dict[str, Any]) -> None:
    """A lost operation, parameter, answer field, value or type is a break."""
    before = surface(changed)
    paths, schemas = changed["paths"], changed["components"]["schemas"]
    del paths["/v1/usage"]
    paths["/v1/videos"]["get"]["parameters"].pop(0)
    del schemas["Video"]["properties"]["seed"]
    schemas["JobStatus"]["enum"].remove("cancelled")
    schemas["Stage"]["properties"]["steps_done"]["type"] = "string"

    broken = growth(before, surface(changed)).broken

    assert "gone: GET /v1/usage is getUsage" in broken
    assert "gone: GET /v1/videos takes query after: string or null" in broken
    assert "gone: answer Video seed: integer" in broken
    assert 'gone: answer JobStatus = "cancelled"' in broken
    assert "gone: answer Stage steps_done: integer" in broken


def test_asking_for_more_is_found(changed: dict[str, Any]) -> None:
    """A narrower bound, a new bound, a new pattern and a newly required field are breaks; wider bounds are not."""
    before = surface(changed)
    form = changed["components"]["schemas"]["CreateVideo"]
    form["required"].append("seed")
    form["properties"]["prompt"] |= {"maxLength": 100, "pattern": "^a"}
    form["properties"]["audio_start"]["maximum"] = 10
    form["properties"]["num_inference_steps"] |= {"maximum": 500, "minimum": 0}

    broken = growth(before, surface(changed)).broken

    operation = "stricter: POST /v1/videos takes multipart/form-data"
    assert sorted(broken) == [
        f"{operation} audio_start bound maximum 10",
        f"{operation} prompt bound maxLength 100",
        f"{operation} prompt like ^a",
        f"{operation} seed requires a value",
    ]


def test_growth_has_names(changed: dict[str, Any]) -> None:
    """New operations count by path, new fields and values by name, each until the changelog names it."""
    before = surface(changed)
    schemas = changed["components"]["schemas"]
    changed["paths"]["/v1/videos/{video_id}/frames"] = {"get": {"operationId": "getFrames", "responses": {}}}
    changed["paths"]["/v1/songs/{song_id}/end"] = {"post": {"operationId": "endSong", "responses": {}}}
    schemas["Video"]["properties"]["mood"] = {"type": "string"}
    schemas["JobStatus"]["enum"].append("resting")

    changes = growth(before, surface(changed))

    assert changes.broken == []
    assert changes.operations == ["/v1/videos/{video_id}/frames", "/v1/songs/{song_id}/end"]
    assert set(changes.names) == {"mood", "resting"}
    assert len(unnamed(changes, "`/v1/videos` and `/v1/videos/{id}` and `/v1/song`", before)) == 4
    assert unnamed(changes, "`mood`, resting, `GET /v1/videos/{id}/frames`, `/v1/songs`", before) == []
