"""Text fields of a multipart form into a typed model: every field is known, sent once, and in its range."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import TYPE_CHECKING, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import from_json

from service.errors import FieldError, field_errors, invalid_fields
from workers.contract import FPS, NUM_FRAMES, NUM_KEYFRAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fields = TypeVar("Fields", bound=BaseModel)

MIN_CROP = 16  # pixels, as of a whole picture
MAX_CROP = 1_000_000
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
_METADATA_PAIR = re.compile(r"metadata\[([^\[\]]+)\]")  # how the OpenAI client flattens a mapping


def refuse_nul(text: str) -> str:
    """Pass text on that every database can keep.

    Raises: ValueError when it holds NUL.
    """
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


NO_NUL = AfterValidator(refuse_nul)
"""Marks text that the database keeps or looks for; stands behind a `max_length`, which refuses half surrogates."""


def parse_fields(model: type[Fields], fields: Mapping[str, str], *, file_fields: Iterable[str]) -> Fields:
    """Read a form's text fields as `model`.

    Raises: ValidationFailed, which lists everything that is wrong.
    """
    errors = [FieldError(f"/{name}", "Send a file here, not text.") for name in file_fields if name in fields]
    values: dict[str, object] = {name: text for name, text in fields.items() if name not in file_fields}
    if "metadata" in model.model_fields:
        _gather_metadata(values)
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        errors += field_errors(error.errors(include_input=False, include_url=False, include_context=False))
    if errors:
        raise invalid_fields(errors)
    return parsed


def _gather_metadata(values: dict[str, object]) -> None:
    """Turn `metadata[key]` fields into one mapping, unless `metadata` itself was sent too."""
    flattened = {match[1]: name for name in values if (match := _METADATA_PAIR.fullmatch(name))}
    if flattened and "metadata" not in values:
        values["metadata"] = {key: values.pop(name) for key, name in flattened.items()}


def clean_prompt(text: object) -> object:
    """Normalise a prompt to NFC with plain spaces.

    Raises: ValueError when it holds control characters.
    """
    if not isinstance(text, str):
        return text
    spaced = re.sub(r"[\t\r\n]+", " ", text).strip()
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in spaced):
        raise ValueError("must not hold control characters")
    return unicodedata.normalize("NFC", spaced)


def parse_keyframes(value: object) -> object:
    """Read frame indices such as `0,4,9`; entries with an `s` behind are seconds.

    Raises: ValueError when they are not as many as are painted, or do not ascend from 0 within the video.
    """
    if not isinstance(value, str):
        return value
    try:
        frames = tuple(
            round(float(entry.removesuffix("s")) * FPS) if entry.endswith("s") else int(entry)
            for entry in (part.strip() for part in value.split(","))
        )
    except (ValueError, OverflowError) as error:
        raise ValueError("must be frames such as 0,4,9, or seconds such as 0s,0.17s,0.4s") from error
    if len(frames) != NUM_KEYFRAMES:
        raise ValueError(f"must be {NUM_KEYFRAMES} frames")
    if frames[0] != 0 or frames[-1] >= NUM_FRAMES or any(a >= b for a, b in itertools.pairwise(frames)):
        raise ValueError(f"must ascend from 0 to at most {NUM_FRAMES - 1}, each frame once")
    return frames


def parse_crop(value: object) -> object:
    """Read a rectangle such as `40,0,640,400`: left, top, width and height in pixels.

    Raises: ValueError when it is none, or smaller than a picture may be.
    """
    if not isinstance(value, str):
        return value
    try:
        sides = tuple(int(entry) for entry in value.split(","))
    except ValueError as error:
        raise ValueError("must be four whole numbers such as 40,0,640,400") from error
    if len(sides) != 4 or min(sides) < 0 or max(sides) > MAX_CROP:
        raise ValueError("must be left, top, width and height in pixels, such as 40,0,640,400")
    if min(sides[2:]) < MIN_CROP:
        raise ValueError(f"must be at least {MIN_CROP} pixels wide and high")
    return sides


def parse_metadata(value: object) -> object:
    """Read a JSON object of text pairs.

    Raises: ValueError when it is not JSON, too large, or holds NUL.
    """
    if isinstance(value, str):
        try:
            value = from_json(value, allow_inf_nan=False)
        except ValueError as error:
            raise ValueError("must be a JSON object of text values") from error
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("must be a JSON object of text values")
    if len(value) > MAX_METADATA_PAIRS:
        raise ValueError(f"may have at most {MAX_METADATA_PAIRS} pairs")
    for key, text in value.items():
        if not 0 < len(key) <= MAX_METADATA_KEY or len(text) > MAX_METADATA_VALUE:
            raise ValueError(f"keys have 1 to {MAX_METADATA_KEY} characters, values at most {MAX_METADATA_VALUE}")
        refuse_nul(key)
        refuse_nul(text)
    return value
