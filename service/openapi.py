"""The OpenAPI document: forms, problem answers, and the shapes that code generators can read.

Optional values are written as a type list with "null" instead of a union, because generators trip over unions.
File fields carry both `format: binary` (which generators know) and `contentMediaType` (which OpenAPI 3.1 wants).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.access.guard import SCHEME, SCHEME_NAME, Guard
from service.problem_details import PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter, FastAPI
    from pydantic import BaseModel

_MEANINGS = {
    400: "The body is malformed.",
    401: "The API key is missing, wrong, expired or revoked.",
    403: "The API key may not do this, or a page of another site asked.",
    404: "There is no such thing here.",
    408: "The body did not arrive in time.",
    409: "The video is not in a state that allows this.",
    410: "The content is no longer kept.",
    413: "The body is too large.",
    415: "The file is in no accepted format.",
    416: "The range lies outside the content.",
    422: "A field or a file is not valid.",
    429: "Too many, or too often: `Retry-After` says when to try again.",
    503: "Not possible now: try again later.",
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details; `error` repeats them for clients of the OpenAI API.",
    "required": ["type", "title", "status", "detail", "code", "error"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "Stable; made for programs."},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        },
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a route may answer with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _MEANINGS[status], "content": {PROBLEM_JSON: {"schema": schema}}} for status in statuses
    }


def form_body(
    model: type[BaseModel], *, files: Mapping[str, str], required_files: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Document a multipart form whose text fields are `model` and whose files are `files` (name: description)."""
    schema = model.model_json_schema()
    properties = {
        name: {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
            "description": description,
        }
        for name, description in files.items()
    }
    form = {
        "type": "object",
        "title": model.__name__.removesuffix("Fields"),
        "required": [*required_files, *schema.get("required", [])],
        "properties": {**properties, **{name: _without_null(field) for name, field in schema["properties"].items()}},
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


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
            schemas["Problem"] = _PROBLEM
            _drop_default_422(raw)
            _describe_json(raw)
            _describe_access(raw, routers)
            app.openapi_schema = _simplified(raw, schemas)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the documented way to replace it


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A form field as it can be sent: present, or absent; a form cannot carry null."""
    present = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(present) != 1:
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return {**present[0], **rest}


def _drop_default_422(document: dict[str, Any]) -> None:
    """The framework documents its own 422 body, which is never sent."""
    for path in document["paths"].values():
        for operation in path.values():
            reply = operation["responses"].get("422", {})
            if "application/json" in reply.get("content", {}):
                operation["responses"]["422"] = problems(422)[422]


def _describe_json(document: dict[str, Any]) -> None:
    """Every operation that takes JSON refuses what is none."""
    for path in document["paths"].values():
        for operation in path.values():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                operation["responses"].setdefault("400", problems(400)[400])


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
