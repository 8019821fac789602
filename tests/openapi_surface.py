"""The surface of the HTTP API: what a client may rely on, one line each, read off an OpenAPI document.

`clients/v1.txt` holds the surface of the last release. Within v1 nothing of it may go away or become stricter.
Run at a release, to take the present document as released: `python -m tests.openapi_surface > clients/v1.txt`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
SNAPSHOT = CLIENTS / "openapi.json"
RELEASED = CLIENTS / "v1.txt"

_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_REQUIRES, _LIKE, _BOUND = " requires ", " like ", " bound "


@dataclass(frozen=True, slots=True)
class Growth:
    """How a document differs from a released surface."""

    broken: list[str] = field(default_factory=list)
    """What a client of the release would miss, or be refused for."""
    operations: list[str] = field(default_factory=list)
    """Paths of new operations."""
    names: list[str] = field(default_factory=list)
    """New parameters, fields and values of what was there before."""


def surface(document: Mapping[str, Any]) -> list[str]:
    """Every operation, parameter, field, value, bound and answer of a document, sorted."""
    lines: set[str] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            lines.add(f"{name} is {operation['operationId']}")
            for parameter in operation.get("parameters", ()):
                called = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
                what = f"{name} takes {parameter['in']} {called}"
                lines.update(_asked(what, parameter["schema"], document, is_required=parameter.get("required", False)))
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                what = f"{name} takes {media_type}"
                lines.add(what)
                lines.update(_asked_fields(what, _resolved(content["schema"], document), document))
            for status, answer in operation["responses"].items():
                if status.startswith(("2", "3")):
                    lines.add(f"{name} answers {status}")
                    for media_type, content in answer.get("content", {}).items():
                        lines.add(f"{name} answers {status} {media_type}: {_type(content['schema'])}")
    for name in answer_schemas(document):
        lines.update(_told(f"answer {name}", document["components"]["schemas"][name]))
    return sorted(lines)


def answer_schemas(document: Mapping[str, Any]) -> set[str]:
    """Names of the schemas that answers are made of."""
    found: set[str] = set()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    waiting: list[Any] = [operation["responses"] for operation in operations]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            kind, _, name = str(node.get("$ref", "")).rpartition("/")
            if kind == "#/components/schemas" and name not in found:
                found.add(name)
                waiting.append(document["components"]["schemas"][name])
    return found


def growth(released: list[str], present: list[str]) -> Growth:
    """Compare a present surface with a released one."""
    old, new = set(released), set(present)
    subjects = {_subject(line) for line in old}
    found = Growth()
    found.broken.extend(
        f"gone: {line}" for line in sorted(old - new) if not any(mark in line for mark in (_REQUIRES, _LIKE, _BOUND))
    )
    for line in sorted(new - old):
        place, verb, _ = line.partition(" is ")
        if _subject(line) not in subjects:
            if verb:
                found.operations.append(place.split(" ")[1])
        elif _BOUND in line:
            found.broken.extend([f"stricter: {line}"] if _is_stricter(line, old) else [])
        elif _REQUIRES in line or _LIKE in line:
            found.broken.append(f"stricter: {line}")
        elif " = " in line:
            found.names.append(json.loads(line.rpartition(" = ")[2]))
        elif ": " in line:
            found.names.append(line.partition(": ")[0].rpartition(" ")[2])
    return found


def unnamed(changes: Growth, changelog: str, released: list[str]) -> list[str]:
    """What is new and not named in a changelog: by its name, or the path that it begins with and no release had."""
    known = {_general(_subject(line).partition(" ")[2]) for line in released}
    text = _general(changelog)
    missing = [str(name) for name in changes.names if f"{name}" not in changelog]
    for path in changes.operations:
        parts = _general(path).split("/")
        beginnings = {"/".join(parts[:count]) for count in range(3, len(parts) + 1)} - known
        if not any(re.search(rf"{re.escape(beginning)}(?![\w-])", text) for beginning in beginnings):
            missing.append(path)
    return missing


def _general(text: str) -> str:
    """A path or text in which every `{name}` is `{}`."""
    return re.sub(r"\{\w+\}", "{}", text)


def _subject(line: str) -> str:
    """What a line is about: an operation, or a schema of answers."""
    return " ".join(line.split(" ", 2)[:2])


def _is_stricter(line: str, old: set[str]) -> bool:
    """Whether a bound of a parameter or field narrows what a release took."""
    place, _, bound = line.partition(_BOUND)
    if not any(other.startswith(f"{place}: ") for other in old):
        return False
    name, value = bound.split(" ")
    before = [float(other.rpartition(" ")[2]) for other in old if other.startswith(f"{place}{_BOUND}{name} ")]
    if not before:
        return True
    return float(value) < before[0] if name in _UPPER_BOUNDS else float(value) > before[0]


def _asked_fields(what: str, schema: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    for name, shape in schema.get("properties", {}).items():
        yield from _asked(f"{what} {name}", shape, document, is_required=name in schema.get("required", ()))


def _asked(what: str, shape: Mapping[str, Any], document: Mapping[str, Any], *, is_required: bool) -> Iterator[str]:
    """Lines of one parameter or field of a request."""
    shape = _resolved(shape, document)
    yield f"{what}: {_type(shape)}"
    if is_required:
        yield f"{what}{_REQUIRES}a value"
    for value in shape.get("enum", ()):
        yield f"{what} = {json.dumps(value)}"
    for name in (*_UPPER_BOUNDS, *_LOWER_BOUNDS):
        if name in shape:
            yield f"{what}{_BOUND}{name} {shape[name]:g}"
    if "pattern" in shape:
        yield f"{what}{_LIKE}{shape['pattern']}"
    yield from _asked_fields(what, shape, document)


def _told(what: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a schema of answers: its fields, and the fields of what stands in it without a name."""
    for name, shape in schema.get("properties", {}).items():
        yield f"{what} {name}: {_type(shape)}"
        yield from _told(f"{what} {name}", shape)
        yield from _told(f"{what} {name}", shape.get("items", {}))
    for value in schema.get("enum", ()):
        yield f"{what} = {json.dumps(value)}"


def _resolved(shape: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in shape:
        return shape
    found: Mapping[str, Any] = document["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    return found


def _type(shape: Mapping[str, Any]) -> str:
    if "$ref" in shape:
        return str(shape["$ref"].rpartition("/")[2])
    kinds = shape.get("type", "anything")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{text} of {_type(shape['items'])}" if "items" in shape else text


def main() -> None:
    """Write the surface of the snapshot."""
    print("\n".join(surface(json.loads(SNAPSHOT.read_text()))))  # noqa: T201  (its output is the file)


if __name__ == "__main__":
    main()
