"""Everything that is encoded once for a video: its words, its picture and its sound, beside what nothing encodes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from model.conditioning import AudioTokens, Conditioning
from model.encoders.image import ConvImageEncoder
from model.localization.listener import spectrogram
from model.media.faces import NO_FACE, find_face

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from model.clips import AudioClip, ImageFrame
    from model.config import ModelConfig
    from model.media.faces import FaceBox
    from model.networks.resampler import Resampler
    from model.placement import Placement
    from model.pretrained import Components


class ConditionEncoder:
    """Encodes prompt, picture and sound; the null of each is the same for all videos, and encoded with the first."""

    def __init__(self, config: ModelConfig, components: Components, placement: Placement, device: torch.device) -> None:
        self._config = config
        self._components = components
        self._placement = placement
        self._device = device
        self._nulls: dict[str, Tensor] = {}

    @torch.inference_mode()
    def encode(self, image: ImageFrame, audio: AudioClip, prompt: str) -> Conditioning:
        """Conditions of one video, and their nulls, in the shapes that `Conditioning` names.

        Args:
            image: of the model's own size.
            audio: the sound; its first 2 s count.
            prompt: may be empty.
        """
        parts, using = self._components, self._placement.using
        mel = spectrogram(audio, self._config, num_frames=self._config.audio_encoder.mel_frames).to(self._device)
        picture = image.pixels[None].to(self._device)
        with using("audio_encoder"):
            heard = parts.audio_encoder(mel)
            unheard = self._null("audio", lambda: parts.audio_encoder(torch.zeros_like(mel)))
        with using("text_encoder"):
            text = parts.text_encoder.encode([prompt])
            null_text = self._null("text", lambda: parts.text_encoder.encode([""]))
        with using("image_encoder"):
            tokens, features = self._look(picture, self._search(image))
            null_tokens = self._null("tokens", lambda: self._look(torch.zeros_like(picture), NO_FACE)[0])
        with using("resampler", "interpolation_resampler"):
            seen = self._per_frame(tokens, parts.resampler)
            unseen = self._null("image", lambda: self._per_frame(null_tokens, parts.resampler))
            later = null_later = None
            if (own := parts.interpolation_resampler) is not None:
                later = self._per_frame(tokens, own)
                null_later = self._null("interpolation_image", lambda: self._per_frame(null_tokens, own))
        with using("draft"):
            draft = None if parts.draft is None else parts.draft(heard, text, features)
        return Conditioning(
            text=text,
            null_text=null_text,
            image=seen,
            null_image=unseen,
            audio=self._audio_tokens(heard),
            null_audio=self._audio_tokens(unheard),
            draft=draft,
            features=None if parts.draft is None else features,
            interpolation_image=later,
            null_interpolation_image=null_later,
        )

    def _null(self, name: str, encode: Callable[[], Tensor]) -> Tensor:
        """What nothing encodes to, as the first video found it."""
        if name not in self._nulls:
            self._nulls[name] = encode()
        return self._nulls[name]

    def _search(self, image: ImageFrame) -> FaceBox:
        encoder = self._components.image_encoder
        looks_for_faces = isinstance(encoder, ConvImageEncoder) and encoder.config.has_face_map
        return find_face(image) if looks_for_faces else NO_FACE

    def _look(self, picture: Tensor, face: FaceBox) -> tuple[Tensor, Tensor | None]:
        """Tokens of a picture, and the features that keyvid-mini's networks are given besides."""
        encoder = self._components.image_encoder
        if not isinstance(encoder, ConvImageEncoder):
            return encoder.encode(picture), None
        features = encoder.features(picture, picture.new_tensor([face]))
        return encoder.as_tokens(features), features

    def _per_frame(self, tokens: Tensor, resampler: Resampler | None) -> Tensor:
        """Tokens of each frame, `[B, 48, N, D]`; without a resampler every frame sees the same ones."""
        if resampler is not None:
            per_frame: Tensor = resampler(tokens)
            return per_frame
        return tokens[:, None].expand(-1, self._config.video.frames, -1, -1)

    def _audio_tokens(self, tokens: Tensor) -> AudioTokens:
        config = self._config
        return AudioTokens(tokens, config.audio_encoder.grid, config.audio_layout, config.video.frames)
