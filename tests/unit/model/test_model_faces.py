"""Faces: found in photographs, painted in procedural clips, and shown to keyvid-mini's networks."""

from __future__ import annotations

import pytest
import torch

from model.clips import ImageFrame
from model.encoders.image import ConvImageConfig, ConvImageEncoder, face_map
from model.evaluation.photographs import PHOTOGRAPHS
from model.media.faces import NO_FACE, find_face
from model.training.procedural.clip import ProceduralClip, _streams, draw_subject, make_clip, render_picture
from model.training.recipes import HELD_OUT_SEED

NUM_TALKING = 10


@pytest.fixture(scope="module")
def faces() -> list[ProceduralClip]:
    """Clips of somebody talking or singing whose face was found."""
    talking = (seed for seed in range(10_000) if draw_subject(_streams(seed).plan).voice == "speech")
    clips = [make_clip(seed) for seed, _ in zip(talking, range(NUM_TALKING), strict=False)]
    return [clip for clip in clips if clip.face != NO_FACE]


@pytest.mark.parametrize(("name", "nose"), [("astronaut", (0.44, 0.36)), ("officer", (0.51, 0.58))])
def test_faces_of_photographs_are_found(name: str, nose: tuple[float, float]) -> None:
    """The box holds the nose of the person, and no more than half of the picture."""
    photograph = next(photograph for photograph in PHOTOGRAPHS if photograph.name == name)

    left, top, right, bottom = find_face(photograph.read(height=320, width=512))

    assert left < nose[0] < right
    assert top < nose[1] < bottom
    assert (right - left) * (bottom - top) < 0.5


def test_face_is_found_wherever_it_is() -> None:
    """In a picture moved by a third of its height the box has moved as far, give or take a few pixels."""
    astronaut = next(photograph for photograph in PHOTOGRAPHS if photograph.name == "astronaut")
    picture = astronaut.read(height=320, width=512)

    before = find_face(picture)
    after = find_face(ImageFrame(picture.pixels.roll(107, dims=1)))

    assert after == pytest.approx((before[0], before[1] + 107 / 320, before[2], before[3] + 107 / 320), abs=0.04)


def test_no_face_is_found_where_there_is_none() -> None:
    """A slope of grey is no face."""
    slope = torch.linspace(-1, 1, 512).expand(3, 320, 512)

    assert find_face(ImageFrame(slope)) == NO_FACE


@pytest.mark.parametrize("number", [34, 42, 89])
def test_faint_slopes_behind_a_subject_are_no_face(number: int) -> None:
    """In these painted pictures without a face the detector alone sees one, for all that the eye cannot tell."""
    picture = torch.from_numpy(render_picture(HELD_OUT_SEED + number, 320, 512)).permute(2, 0, 1)

    assert find_face(ImageFrame(picture / 127.5 - 1)) == NO_FACE


def test_face_map_shows_the_middle_and_which_way_is_down() -> None:
    """The oval is highest in the box's middle; its other channel is negative above and positive below."""
    oval, height = face_map(torch.tensor([[0.25, 0.2, 0.5, 0.6]]), (80, 128))[0]

    row, column = divmod(int(oval.argmax()), 128)
    assert (row, column) == pytest.approx((32, 48), abs=1)
    assert float(oval.max()) == pytest.approx(1, abs=0.01)
    assert height[20:30].max() <= 0 <= height[34:44].min()


def test_face_map_of_no_face_is_empty() -> None:
    """Without a face nothing is shown."""
    assert not face_map(torch.tensor([NO_FACE]), (80, 128)).any()


def test_encoder_sees_faces_only_where_its_configuration_says_so() -> None:
    """The same face changes the features of an encoder with a face map, and not those of one without."""
    image, faces = torch.zeros(1, 3, 80, 128), torch.tensor([[0.25, 0.2, 0.5, 0.6]])

    for has_face_map in (True, False):
        torch.manual_seed(0)
        encoder = ConvImageEncoder(ConvImageConfig(channels=(8, 8, 8), dim=8, has_face_map=has_face_map))
        is_same = torch.equal(encoder.features(image), encoder.features(image, faces))
        assert is_same is not has_face_map


def test_mouth_that_opens_is_in_the_lower_half_of_the_found_face(faces: list[ProceduralClip]) -> None:
    """The cell that darkens most, an open mouth, lies there, give or take half a cell."""
    assert len(faces) >= NUM_TALKING / 3
    for clip in faces:
        left, top, right, bottom = clip.face
        row, column = divmod(int(clip.latents()[2].mean(axis=0).argmin()), 16)
        assert left - 0.5 / 16 <= (column + 0.5) / 16 <= right + 0.5 / 16
        assert (top + bottom) / 2 - 0.5 / 10 <= (row + 0.5) / 10 <= bottom + 0.5 / 10
