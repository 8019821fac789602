"""Configuration dataclasses to JSON and back, without losing or inventing a field."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, TypeVar

from model.errors import CheckpointMismatch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config")


def to_json(config: DataclassInstance) -> dict[str, object]:
    """Turn a configuration into plain values for JSON."""
    return dataclasses.asdict(config)


def from_json(kind: type[_Config], data: object) -> _Config:
    """Build a configuration of `kind` from JSON values; every field must be there, and nothing else.

    Raises: CheckpointMismatch.
    """
    try:
        built = _decode(kind, data)
    except (TypeError, ValueError) as error:
        raise CheckpointMismatch(f"not a {kind.__name__}: {error}") from error
    return typing.cast("_Config", built)


def _decode(kind: object, data: object) -> object:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data)
    if origin is tuple:
        return _decode_tuple(args, data)
    if origin is typing.Literal:
        if data not in args:
            raise ValueError(f"{data!r} is not one of {args}")
        return data
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _decode(next(part for part in args if part is not types.NoneType), data)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise TypeError(f"{data!r} is not a {kind}")
    return data


def _decode_tuple(kinds: tuple[object, ...], data: object) -> tuple[object, ...]:
    if not isinstance(data, list | tuple):
        raise TypeError(f"{data!r} is not a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    return tuple(_decode(kind, value) for kind, value in zip(kinds, data, strict=True))


def _decode_dataclass(kind: type, data: object) -> object:
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(data, dict) or set(data) != names:
        raise ValueError(f"the fields must be {', '.join(sorted(names))}")
    return kind(**{name: _decode(hints[name], value) for name, value in data.items()})
