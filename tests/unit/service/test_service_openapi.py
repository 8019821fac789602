"""The OpenAPI document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.errors import ServiceError
from service.openapi import CODES

MANUAL = Path(__file__).parents[3] / "docs" / "http-api.md"


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


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation."""
    return [operation for path in document["paths"].values() for operation in path.values()]


def fields(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every parameter, form field and field of an object, with a name for messages."""
    found = []
    for operation in operations(document):
        for parameter in operation.get("parameters", ()):
            shape = {**parameter, **parameter["schema"]}
            found.append((f"{operation['operationId']} {parameter['name']}", shape))
    for node in schema_nodes(document):
        if isinstance(node.get("properties"), dict) and ("title" in node or node.get("type") == "object"):
            found.extend((f"{node.get('title', '')} {name}", shape) for name, shape in node["properties"].items())
    return found


def shows_a_value(shape: dict[str, Any]) -> bool:
    """Whether a reader can see what a value looks like."""
    if {"example", "examples", "enum", "const", "$ref", "properties"} & shape.keys():
        return True
    if shape.get("default") is not None or shape["type"] in ("boolean", ["boolean", "null"]):
        return True
    return shape.get("format") == "binary" or ("items" in shape and shows_a_value(shape["items"]))


def test_everything_is_described(document: dict[str, Any]) -> None:
    """Operations, parameters and fields say what they are; each value has an example, a default or its choices."""
    assert [name for name, shape in fields(document) if not shape.get("description")] == []
    assert [name for name, shape in fields(document) if not shows_a_value(shape)] == []
    for operation in operations(document):
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        for answer in operation["responses"].values():
            assert answer["description"], operation["operationId"]
            assert all(content["schema"] for content in answer.get("content", {}).values()), operation["operationId"]


def test_answers_are_whole(document: dict[str, Any]) -> None:
    """Clients need not ask whether a field is there: every field of an answer always is."""
    for name in ("Video", "VideoList", "File", "Problem", "WebhookDelivery"):
        schema = document["components"]["schemas"][name]
        assert schema["required"] == list(schema["properties"])


def test_header_fields_are_documented(document: dict[str, Any]) -> None:
    """Every answer has a request id, every refusal for a time says how long, every new thing where it is."""
    described = document["components"]["headers"]
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            names = set(answer["headers"])
            assert names <= described.keys()
            assert "X-Request-ID" in names
            is_problem = "application/problem+json" in answer.get("content", {})
            assert "Retry-After" in names or not (is_problem and status in ("429", "503"))
    answers = document["paths"]["/v1/videos"]["post"]["responses"]
    assert "Location" in answers["202"]["headers"]
    assert {"ETag", "openai-poll-after-ms"} <= set(
        document["paths"]["/v1/videos/{video_id}"]["get"]["responses"]["200"]["headers"]
    )


def test_every_code_is_documented() -> None:
    """The codes of problems are the same in the document, in the manual, and in the errors that carry them."""

    def kinds(kind: type[ServiceError]) -> set[type[ServiceError]]:
        return {kind}.union(*(kinds(sub) for sub in kind.__subclasses__()))

    raised = {(kind.status, kind.code) for kind in kinds(ServiceError)} - {(500, "internal")}
    table = MANUAL.read_text().partition("| status | `code` |")[2].partition("\n\n")[0]
    rows = {int(status): re.findall(r"`(\w+)`", rest) for status, rest in re.findall(r"\| (\d+) \|(.*)", table)}

    assert {(status, code) for status, codes in CODES.items() for code in codes} >= raised
    assert {status: set(codes) for status, codes in CODES.items()} == {
        status: {code for code in codes if code != "Retry"} for status, codes in rows.items()
    }


def test_there_are_no_unions(document: dict[str, Any]) -> None:
    """Generated clients meet neither anyOf nor oneOf."""
    assert not [node for node in schema_nodes(document) if {"anyOf", "oneOf"} & node.keys()]


def test_whole_numbers_that_are_asked_for_have_bounds(document: dict[str, Any]) -> None:
    """What a caller may send, a column can hold: an integer of a request's body has a greatest value."""
    bodies = [
        document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        for operation in operations(document)
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "$ref" in content["schema"]
    ]

    unbounded = [
        name
        for body in bodies
        for name, field in body["properties"].items()
        if "integer" in field.get("type", ()) and "enum" not in field and "maximum" not in field
    ]

    assert bodies
    assert unbounded == []


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Every operation is named by hand, once."""
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]

    assert len(set(names)) == len(names)
    assert {"createVideo", "getVideo", "listVideos", "downloadVideo", "createFile", "getReadiness"} <= set(names)
    assert not [name for name in names if "_" in name]


def test_create_form_shows_files_and_fields(document: dict[str, Any]) -> None:
    """The form of a new video has binary files for both kinds of generator, and every field with its range."""
    content = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    form = document["components"]["schemas"]["CreateVideo"]

    assert content["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/CreateVideo"}
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
    """Every schema and header field that is referred to exists."""
    for node in schema_nodes(document):
        if "$ref" in node:
            kind, name = node["$ref"].removeprefix("#/components/").split("/")
            assert name in document["components"][kind]
