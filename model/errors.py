"""Every error the model raises, grouped by who can act on it.

`code` is stable and public; the docstring of a class is its default message.
"""


class KeyVIDError(Exception):
    """The model could not do what was asked."""

    code = "internal"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class InvalidInput(KeyVIDError):
    """The request cannot be generated from: the caller can fix it."""

    code = "invalid_input"


class ImageDecodeFailed(InvalidInput):
    """The picture could not be decoded as JPEG, PNG or WebP."""

    code = "image_decode_failed"


class AudioDecodeFailed(InvalidInput):
    """The sound could not be decoded."""

    code = "audio_decode_failed"


class AudioTooShort(InvalidInput):
    """The sound is shorter than a quarter of a second."""

    code = "audio_too_short"


class InvalidParams(InvalidInput):
    """A generation parameter is outside its range."""

    code = "validation_failed"


class KeyframesNeeded(InvalidInput):
    """This model has no localizer: send the keyframes."""

    code = "keyframes_needed"


class CheckpointError(KeyVIDError):
    """The weights cannot be used: the operator can fix it."""

    code = "model_unavailable"


class CheckpointMissing(CheckpointError):
    """There are no weights in the given folder."""


class CheckpointMismatch(CheckpointError):
    """The weights do not fit the model's configuration."""


class GenerationError(KeyVIDError):
    """Generation broke half-way: we can fix it."""


class OutOfMemory(GenerationError):
    """The device ran out of memory."""

    code = "out_of_memory"


class NonFiniteLatents(GenerationError):
    """Denoising produced values that are not finite."""

    code = "nonfinite_output"


class EncodeFailed(GenerationError):
    """The frames could not be encoded to MP4."""

    code = "encode_failed"
