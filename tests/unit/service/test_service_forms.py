"""Text fields of a request for a video."""

from __future__ import annotations

import json

import pytest

from service.errors import ValidationFailed
from service.forms import parse_fields
from service.videos.schemas import CreateVideoFields

FILES = ("input_reference", "audio")


def parse(**fields: str) -> CreateVideoFields:
    """The fields of a form, with a prompt unless it says otherwise."""
    return parse_fields(CreateVideoFields, {"prompt": "a dog barks", **fields}, file_fields=FILES)


def test_defaults_are_the_models_own() -> None:
    """A prompt is enough; what is not sent is left to the model."""
    fields = parse()

    assert (fields.seconds, fields.size, fields.image_fit, fields.audio_start) == ("2", "512x320", "cover", 0.0)
    assert fields.seed is fields.num_inference_steps is fields.guidance_audio is None


def test_prompt_is_normalised() -> None:
    """Accents are composed and line breaks become spaces."""
    assert parse(prompt=" cafe\u0301\nbell\t ").prompt == "caf\u00e9 bell"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ""),
        ("prompt", "   "),
        ("prompt", "x" * 2001),
        ("prompt", "a\x00b"),
        ("prompt", "a\x1b[31m"),
        ("prompt", "a\x85b"),
        ("seed", "-1"),
        ("seed", "4294967296"),
        ("seed", "true"),
        ("seed", "1.5"),
        ("seconds", "1e9"),
        ("seconds", "4"),
        ("size", "99999x99999"),
        ("num_inference_steps", "0"),
        ("num_inference_steps", "201"),
        ("guidance_audio", "nan"),
        ("guidance_audio", "inf"),
        ("guidance_text", "-0.1"),
        ("guidance_image", "30.5"),
        ("guidance_image", "False"),
        ("interpolation_mode", "other"),
        ("motion_strength", "0.24"),
        ("motion_strength", "3.01"),
        ("motion_strength", "nan"),
        ("image_fit", "zoom"),
        ("keyframes", ""),
        ("keyframes", "0,1,2,3,4,5,6,7,8,9,10"),
        ("keyframes", "0,1,2,3,4,5,6,7,8,9,10,48"),
        ("keyframes", "1,2,3,4,5,6,7,8,9,10,11,12"),
        ("keyframes", "0,2,1,3,4,5,6,7,8,9,10,11"),
        ("keyframes", "0,1,1,3,4,5,6,7,8,9,10,11"),
        ("keyframes", "0,1,2,3,4,5,6,7,8,9,10,1e999s"),
        ("keyframes", "0,1,2,3,4,5,6,7,8,9,10,nans"),
        ("keyframes", "0,1,2,3,4,5,6,7,8,9,10,11.5"),
        ("reference_compat", "maybe"),
        ("audio_start", "-1"),
        ("audio_start", "nan"),
        ("metadata", "not json"),
        ("metadata", "[]"),
        ("metadata", '{"a": 1}'),
        ("metadata", '{"a": "\\u0000"}'),
        ("metadata", '{"\\u0000": "a"}'),
        ("image_file_id", "file_\0"),
        ("metadata", "[" * 60_000),
        ("metadata", json.dumps({str(number): "" for number in range(17)})),
        ("metadata", json.dumps({"k" * 65: ""})),
        ("metadata", json.dumps({"k": "v" * 513})),
        ("sede", "1"),
        ("input_reference", "just words"),
        ("audio_file_id", ""),
    ],
)
def test_bad_field_is_named(name: str, value: str) -> None:
    """Each bad value is refused, and the answer points at its field."""
    with pytest.raises(ValidationFailed) as refused:
        parse(**{name: value})

    assert {error.pointer for error in refused.value.errors} == {f"/{name}"}
    assert value not in refused.value.detail or len(value) < 3


def test_everything_wrong_is_listed_at_once() -> None:
    """A caller learns of all mistakes in one answer."""
    with pytest.raises(ValidationFailed) as refused:
        parse(seed="-1", size="1x1", audio="text", other="1")

    assert {error.pointer for error in refused.value.errors} == {"/seed", "/size", "/audio", "/other"}


def test_limits_themselves_are_allowed() -> None:
    """The ends of every range belong to it."""
    fields = parse(
        prompt="x" * 2000, seed="4294967295", num_inference_steps="200", guidance_text="0", guidance_image="30"
    )

    assert (fields.seed, fields.num_inference_steps) == (4294967295, 200)
    assert (fields.guidance_text, fields.guidance_image) == (0.0, 30.0)


@pytest.mark.parametrize(
    "value", ["", "1,2,3", "0,0,15,40", "0,0,40,15", "-1,0,40,40", "0.5,0,40,40", "a,b,c,d", "0,0,40,9999999999"]
)
def test_crop_is_four_whole_numbers(value: str) -> None:
    """A rectangle of pixels is read as such; anything else is told in its own field."""
    good = parse_fields(CreateVideoFields, {"prompt": "a dog", "image_crop": "40, 0,640,400"}, file_fields=())
    with pytest.raises(ValidationFailed) as refused:
        parse_fields(CreateVideoFields, {"prompt": "a dog", "image_crop": value}, file_fields=())

    assert good.image_crop == (40, 0, 640, 400)
    assert refused.value.param == "image_crop"


def test_keyframes_are_frames_or_seconds() -> None:
    """Both spellings of one plan, also mixed and with blanks, are the same frames."""
    frames = (0, 4, 8, 13, 17, 21, 26, 30, 34, 39, 43, 47)

    listed = parse(keyframes=", ".join(map(str, frames)), reference_compat="true")
    timed = parse(keyframes="0," + ",".join(f"{frame / 24:.3f}s" for frame in frames[1:]))

    assert listed.keyframes == timed.keyframes == frames
    assert (listed.reference_compat, timed.reference_compat) == (True, False)
    assert parse().keyframes is None


def test_metadata_is_read_in_both_spellings() -> None:
    """A JSON object and the OpenAI client's flattened pairs mean the same."""
    assert parse(metadata='{"a": "1"}').metadata == parse(**{"metadata[a]": "1"}).metadata == {"a": "1"}
