"""The finished OpenAPI document: the framework's, with our access, errors, conventions and shapes that generators read.

Optional values are written as a type list with "null" instead of a union, because generators trip over unions.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.access.guard import SCHEME, SCHEME_NAME, Guard
from service.openapi import HEADERS, PROBLEM, headers, problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fastapi import APIRouter, FastAPI

_EXAMPLE_ID = "01m88svcp4ezcvdpnpynbpjcnx"
_FIELDS: Mapping[str, tuple[str, str | None]] = {
    "object": ("What kind of thing this is.", None),
    "data": ("The page, or all there are.", None),
    "first_id": ("Id of the first one of the page.", f"video_{_EXAMPLE_ID}"),
    "last_id": ("Id of the last one: the next page's `after`.", f"video_{_EXAMPLE_ID}"),
    "has_more": ("Whether there is a next page.", None),
    "deleted": ("Always true.", None),
}
"""What fields of these names mean wherever they stand, and an example."""

_PARAMETERS: Mapping[str, tuple[str, object]] = {
    "video_id": ("Id of the video.", f"video_{_EXAMPLE_ID}"),
    "file_id": ("Id of the file.", f"file_{_EXAMPLE_ID}"),
    "upload_id": ("Id of the upload.", f"upload_{_EXAMPLE_ID}"),
    "model_id": ("Name of the model.", "keyvid-mini"),
    "endpoint_id": ("Id of the webhook endpoint.", f"endpoint_{_EXAMPLE_ID}"),
    "delivery_id": ("Id of the delivery.", f"delivery_{_EXAMPLE_ID}"),
    "worker_id": ("Id of the worker.", "worker-1:4711"),
    "key_id": ("Id of the API key.", f"key_{_EXAMPLE_ID}"),
    "tenant": ("Name of the tenant.", "default"),
    "digest": ("SHA-256, in hex.", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    "key": ("The blob's key, as in the link.", "outputs/video_01m88svcp4/1/video.mp4"),
    "expires": ("Until when the link works, in unix seconds.", 1_795_482_000),
    "signature": ("What proves the link.", "3f8a..."),
    "filename": ("The name to save it under.", "video_01m88svcp4.mp4"),
    "link_id": ("Id of the share link.", f"share_{_EXAMPLE_ID}"),
    "token": ("", "R1mJ8xF0"),
    "ticket": ("", "R1mJ8xF0"),
    "before": ("", 41),
    "after": ("Id of the last one of the page before.", f"video_{_EXAMPLE_ID}"),
    "limit": ("How many at most.", 20),
    "If-None-Match": ("The ETag that the caller has: the answer is 304 while it still holds.", 'W/"12"'),
    "Idempotency-Key": ("", "8d3c1f2a-order-66"),
    "Last-Event-ID": ("Number of the last event that the caller has had.", "12"),
}
"""What parameters of these names mean, where their route says nothing else, and an example."""


def install_openapi(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Serve the finished document of an application and its `routers` in place of the framework's."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            raw = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schemas = raw.setdefault("components", {}).setdefault("schemas", {})
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            schemas["Problem"] = dict(PROBLEM)
            _drop_default_422(raw)
            _describe_json(raw)
            _describe_access(raw, routers)
            _describe_conventions(raw)
            _describe_headers(raw)
            _name_forms(raw)
            finished = _simplified(raw, schemas)
            _require_answers_whole(finished)
            app.openapi_schema = finished
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the documented way to replace it


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _drop_default_422(document: dict[str, Any]) -> None:
    """The framework documents its own 422 body, which is never sent."""
    for operation in _operations(document):
        reply = operation["responses"].get("422", {})
        if "application/json" in reply.get("content", {}):
            operation["responses"]["422"] = problems(422)[422]


def _describe_json(document: dict[str, Any]) -> None:
    """Every operation that takes JSON refuses what is none, comes too slowly or is too large."""
    for operation in _operations(document):
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            for status, reply in problems(400, 408, 413).items():
                operation["responses"].setdefault(str(status), reply)


def _describe_access(document: dict[str, Any], routers: Sequence[APIRouter]) -> None:
    """Say which scope each guarded operation needs, and how it refuses."""
    document["components"]["securitySchemes"] = {SCHEME_NAME: SCHEME}
    refusals = problems(401, 403, 429)
    for route in (route for router in routers for route in router.routes):
        if not isinstance(route, APIRoute):
            continue
        guard = next((item.dependency for item in route.dependencies if isinstance(item.dependency, Guard)), None)
        if guard is None or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["security"] = [{SCHEME_NAME: [guard.scope_of(method).value]}]
            for status, reply in refusals.items():
                operation["responses"].setdefault(str(status), reply)


def _describe_conventions(document: dict[str, Any]) -> None:
    """Say what fields and parameters mean that mean the same everywhere."""
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            meaning, sample = _FIELDS.get(name, ("", None))
            if meaning and not {"description", "$ref"} & field.keys():
                field["description"] = meaning
                field.update({} if sample is None else {"examples": [sample]})
    for operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            description, example = _PARAMETERS.get(parameter["name"], ("", None))
            parameter.setdefault("description", description)
            if example is not None and not {"examples", "enum"} & parameter["schema"].keys():
                parameter.setdefault("example", example)


def _describe_headers(document: dict[str, Any]) -> None:
    """Give every answer the header fields that all carry, and every guarded one those of its key's rate."""
    document["components"]["headers"] = {
        name: {"description": description, "schema": {"type": "string", "examples": [example]}}
        for name, (description, example) in HEADERS.items()
    }
    for operation in _operations(document):
        usual = headers("X-Request-ID", *(("RateLimit", "RateLimit-Policy") if "security" in operation else ()))
        for answer in operation["responses"].values():
            answer["headers"] = {**answer.get("headers", {}), **usual["headers"]}


def _name_forms(document: dict[str, Any]) -> None:
    """Move each form to the schemas under its title: generators name the classes of clients by that."""
    schemas = document["components"]["schemas"]
    for operation in _operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        if content is not None and "title" in content["schema"]:
            name = content["schema"]["title"]
            schemas[name] = content["schema"]
            content["schema"] = {"$ref": f"#/components/schemas/{name}"}


def _require_answers_whole(document: dict[str, Any]) -> None:
    """Say of each object in an answer that all its fields are there, as they always are."""
    schemas = document["components"]["schemas"]
    waiting: list[Any] = [operation["responses"] for operation in _operations(document)]
    seen = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            reference = str(node.get("$ref", ""))
            if reference.startswith("#/components/schemas/") and reference not in seen:
                seen.add(reference)
                waiting.append(schemas[reference.rpartition("/")[2]])
            if "properties" in node:
                node["required"] = list(node["properties"])
            waiting.extend(node.values())


def _simplified(node: Any, schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401  (any JSON)
    """Replace each `anyOf` of one shape and null by that shape with "null" among its types."""
    if isinstance(node, list):
        return [_simplified(item, schemas) for item in node]
    if not isinstance(node, dict):
        return node
    options = node.get("anyOf")
    if isinstance(options, list) and len(options) == 2 and {"type": "null"} in options:
        shape = copy.deepcopy(next(option for option in options if option != {"type": "null"}))
        if "$ref" in shape:
            shape = copy.deepcopy(schemas[shape["$ref"].rpartition("/")[2]])
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**shape, **rest, "type": [shape["type"], "null"]}
        if "enum" in node:
            node["enum"] = [*node["enum"], None]
    return {key: _simplified(value, schemas) for key, value in node.items()}
