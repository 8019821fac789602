"""How routes document what they take and answer: forms, problems, header fields.

File fields carry both `format: binary` (which generators know) and `contentMediaType` (which OpenAPI 3.1 wants).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.problem_details import PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

CODES: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_multipart", "invalid_json"),
    401: ("invalid_api_key", "invalid_ticket"),
    403: ("insufficient_scope", "cross_site_request", "session_header_missing"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("request_timeout",),
    409: (
        "not_ready",
        "conflict",
        "keyframes_needed",
        "endpoint_disabled",
        "too_many_endpoints",
        "too_many_share_links",
        "upload_incomplete",
    ),
    410: (
        "video_expired",
        "file_expired",
        "content_expired",
        "upload_expired",
        "share_link_expired",
        "share_link_revoked",
    ),
    413: ("payload_too_large",),
    415: ("unsupported_media_type",),
    416: ("range_not_satisfiable",),
    422: (
        "validation_failed",
        "image_too_large",
        "image_too_small",
        "image_decode_failed",
        "audio_too_short",
        "audio_too_long",
        "audio_decode_failed",
        "idempotency_key_reused",
        "upload_mismatch",
        "poison_input",
    ),
    429: ("rate_limited", "concurrency_limit", "quota_exceeded"),
    503: ("busy", "storage_unavailable", "localizer_unavailable"),
}
"""Every `code` of a problem, by its status; docs/http-api.md has the same table."""

_MEANINGS = {
    400: "The body is malformed.",
    401: "The API key is missing, wrong, expired or revoked.",
    403: "The API key may not do this, or a page of another site asked.",
    404: "There is no such thing here.",
    405: "This address takes other methods.",
    408: "The body did not arrive in time.",
    409: "It is not in a state that allows this.",
    410: "It is no longer kept.",
    413: "The body is too large.",
    415: "The body or the file is in no accepted format.",
    416: "The range lies outside the content.",
    422: "A field or a file is not valid.",
    429: "Too many, or too often: `Retry-After` says when to try again.",
    503: "Not possible now, and nothing was done: `Retry-After` says when to try again.",
}

HEADERS: Mapping[str, tuple[str, str]] = {
    "Accept-Ranges": ("Always `bytes`: parts can be asked for with `Range`.", "bytes"),
    "Content-Disposition": ("The name to save it under.", 'attachment; filename="video_01m88svcp4.mp4"'),
    "Content-Range": ("Which bytes these are, of how many.", "bytes 0-999/148220"),
    "ETag": ("What `If-None-Match` and `If-Range` are compared with.", 'W/"12"'),
    "Location": ("Where the new thing is, relative to this server.", "/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx"),
    "RateLimit": (
        "What is left of the key's requests, and for how many seconds; where it has a limit.",
        '"requests";r=599;t=1',
    ),
    "RateLimit-Policy": ("The key's limit: requests, and seconds; where it has one.", '"requests";q=600;w=60'),
    "Retry-After": ("Seconds to wait before the next try.", "5"),
    "WWW-Authenticate": ("How to show a key.", 'Bearer realm="keyvid"'),
    "X-Request-ID": ("Names this request in logs: the caller's own, if it sent a plain one.", "8d3c1f2a"),
    "openai-poll-after-ms": ("Milliseconds to wait before the next poll, while the video is not done.", "500"),
    "x-should-retry": ("`false` where the same request would fail again.", "false"),
}
"""What the header fields of answers mean, with an example each."""

_PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    409: ("x-should-retry",),
    416: ("Content-Range",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}

PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details; `error` repeats them for clients of the OpenAI API.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "errors", "error"],
    "properties": {
        "type": {"type": "string", "description": "The kind of problem.", "examples": ["urn:keyvid:error:not_ready"]},
        "title": {"type": "string", "description": "The kind, for people.", "examples": ["Not ready"]},
        "status": {"type": "integer", "description": "The HTTP status.", "examples": [409]},
        "detail": {
            "type": "string",
            "description": "What is wrong this time, for people.",
            "examples": ["The video is queued: ask again when it is completed."],
        },
        "instance": {
            "type": "string",
            "description": "The path that was asked for.",
            "examples": ["/v1/videos/x/content"],
        },
        "code": {"type": "string", "description": "Stable; made for programs.", "examples": ["not_ready"]},
        "request_id": {
            "type": ["string", "null"],
            "description": "As in the header `X-Request-ID`.",
            "examples": ["8d3c1f2a"],
        },
        "errors": {
            "type": "array",
            "description": "Which fields are to blame, if any are.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the field.", "examples": ["/seed"]},
                    "detail": {"type": "string", "description": "What is wrong with it.", "examples": ["Too large."]},
                },
            },
        },
        "error": {
            "type": "object",
            "description": "The same for clients of the OpenAI API.",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "As `detail`.", "examples": ["The video is queued."]},
                "type": {
                    "type": "string",
                    "description": "`invalid_request_error`, `rate_limit_error` or `server_error`.",
                    "examples": ["invalid_request_error"],
                },
                "param": {"type": ["string", "null"], "description": "The field to blame.", "examples": ["seed"]},
                "code": {"type": "string", "description": "As above.", "examples": ["not_ready"]},
            },
        },
    },
}


def headers(*names: str) -> dict[str, Any]:
    """Document header fields of an answer; what they mean stands in `HEADERS`."""
    return {"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a route may answer with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": f"{_MEANINGS[status]} `code`: {', '.join(f'`{code}`' for code in CODES[status])}.",
            "content": {PROBLEM_JSON: {"schema": schema}},
            **headers(*_PROBLEM_HEADERS.get(status, ())),
        }
        for status in statuses
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


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A form field as it can be sent: present, or absent; a form cannot carry null."""
    present = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(present) != 1:
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return {**present[0], **rest}
