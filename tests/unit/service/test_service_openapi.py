"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from service.app import create_app


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as served."""
    return create_app().openapi()


def schema_nodes(node: object) -> list[dict[str, Any]]:
    """Every JSON object in a document."""
    if isinstance(node, list):
        return [found for item in node for found in schema_nodes(item)]
    if isinstance(node, dict):
        return [node, *(found for item in node.values() for found in schema_nodes(item))]
    return []


def test_there_are_no_unions(document: dict[str, Any]) -> None:
    """Generated clients meet neither anyOf nor oneOf."""
    assert not [node for node in schema_nodes(document) if {"anyOf", "oneOf"} & node.keys()]


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Every operation is named by hand, once."""
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]

    assert len(set(names)) == len(names)
    assert {"createVideo", "getVideo", "listVideos", "downloadVideo", "createFile", "getReadiness"} <= set(names)
    assert not [name for name in names if "_" in name]


def test_create_form_shows_files_and_fields(document: dict[str, Any]) -> None:
    """The form of a new video has binary files for both kinds of generator, and every field with its range."""
    content = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    form = content["multipart/form-data"]["schema"]

    assert list(content) == ["multipart/form-data"]
    for name in ("input_reference", "audio"):
        assert form["properties"][name]["format"] == "binary"
        assert form["properties"][name]["contentMediaType"] == "application/octet-stream"
    assert form["required"] == ["prompt"]
    assert form["additionalProperties"] is False
    assert (form["properties"]["seed"]["type"], form["properties"]["seed"]["maximum"]) == ("integer", 2**32 - 1)
    assert form["properties"]["metadata"]["type"] == "string"


def test_problems_are_documented_as_sent(document: dict[str, Any]) -> None:
    """Errors are problem+json everywhere; the framework's own error body is nowhere."""
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for status, reply in operation["responses"].items():
                if status.startswith("4"):
                    assert list(reply["content"]) == ["application/problem+json"], operation["operationId"]


def test_references_resolve(document: dict[str, Any]) -> None:
    """Every schema that is referred to exists."""
    names = {node["$ref"].rpartition("/")[2] for node in schema_nodes(document) if "$ref" in node}

    assert names <= document["components"]["schemas"].keys()
