"""`--set key=value`: typed changes of a recipe, by the names of its fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from model.training.recipes import Recipe

_Recipe = TypeVar("_Recipe", bound="Recipe")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class UnknownSetting(ValueError):
    """A recipe has no such setting, or not such a value; the message lists what there is."""


def changed(recipe: _Recipe, settings: Sequence[str]) -> _Recipe:
    """A recipe with `key=value` settings applied.

    Keys are paths such as `optimisation.learning_rate`, or their last word where it is the only one.
    Raises: UnknownSetting.
    """
    known = settings_of(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = _resolved(key.strip(), known)
        if not equals or path is None:
            raise UnknownSetting(f"{setting!r} sets nothing of {recipe.task}; there are {', '.join(known)}")
        kind, _ = known[path]
        try:
            value = _parsed(text.strip(), kind)
        except ValueError as error:
            raise UnknownSetting(f"{path} is {_shown(kind)}, not {text.strip()!r}") from error
        recipe = typing.cast("_Recipe", _replaced(recipe, path.split("."), value))
    return recipe


def settings_of(recipe: Recipe) -> Mapping[str, tuple[object, object]]:
    """Every setting of a recipe by its path, with its type and its value."""
    return {path: (kind, value) for path, kind, value in _walk(recipe, "") if path != "task"}


def _walk(part: object, prefix: str) -> Iterator[tuple[str, object, object]]:
    hints = typing.get_type_hints(type(part))
    for field in dataclasses.fields(typing.cast("typing.Any", part)):
        value = getattr(part, field.name)
        path = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{path}.")
        else:
            yield path, hints[field.name], value


def _resolved(key: str, known: Mapping[str, object]) -> str | None:
    if key in known:
        return key
    ending = [path for path in known if path.rpartition(".")[2] == key]
    return ending[0] if len(ending) == 1 else None


def _replaced(part: object, path: Sequence[str], value: object) -> object:
    name, *rest = path
    inner = _replaced(getattr(part, name), rest, value) if rest else value
    return dataclasses.replace(typing.cast("typing.Any", part), **{name: inner})


def _parsed(text: str, kind: object) -> object:
    """The value that a text means. Raises: ValueError."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise ValueError(text)
        return _TRUTH[text.lower()]
    if kind in (int, float):
        return int(text) if kind is int else float(text)
    if origin is typing.Literal:
        if text not in args:
            raise ValueError(text)
        return text
    if origin is tuple:
        texts = text.strip("()").split(",")
        kinds = (args[0],) * len(texts) if args[-1] is Ellipsis else args
        return tuple(_parsed(part.strip(), kind) for part, kind in zip(texts, kinds, strict=True))
    return text


def _shown(kind: object) -> str:
    args = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Literal, types.UnionType):
        return "one of " + ", ".join(map(str, args))
    return getattr(kind, "__name__", str(kind)) if not args else f"{len(args)} values with commas between"
