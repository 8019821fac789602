"""What is done for a localization. Everything here blocks and runs in a thread."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from service.errors import ValidationFailed
from service.forms import parse_fields
from service.localizations.schemas import CreateLocalizationFields, KeyframePlan, Localization
from service.media.intake import describe_audio, kept_input, probe_limits
from service.media.validation import check_uploads
from service.media.window import cut_window
from service.multipart import FormLimits
from workers.contract import CLIP_SECONDS, FPS, NUM_FRAMES, AudioInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.access.principal import Principal
    from service.localizations.listener import ListenerLine
    from service.multipart import Form
    from service.settings import ServiceSettings
    from workers.job_store import JobStore
    from workers.storage import BlobStore

AUDIO_FIELD = "audio"


def form_limits(settings: ServiceSettings) -> FormLimits:
    """What the form of a localization may hold."""
    return FormLimits(
        max_file_bytes={AUDIO_FIELD: settings.max_audio_bytes},
        max_parts=settings.max_parts,
        max_field_bytes=settings.max_field_bytes,
    )


@dataclass(frozen=True, slots=True)
class HeardPart:
    """The part of a caller's sound that a video would use: what it is of, where it begins, and its WAV."""

    audio: AudioInput
    start_s: float
    wav: bytes


@dataclass(frozen=True, slots=True)
class LocalizationService:
    """Hears sounds for one tenant; nothing is kept of them."""

    store: JobStore
    storage: BlobStore
    settings: ServiceSettings
    listener: ListenerLine
    caller: Principal

    def prepare(self, form: Form) -> HeardPart:
        """Check a request completely, and cut the part of its sound that counts.

        Raises: ValidationFailed, RefusedUpload, UnsupportedMedia, Busy; Transient errors of the queue side.
        """
        fields = parse_fields(CreateLocalizationFields, form.fields, file_fields=(AUDIO_FIELD,))
        if (AUDIO_FIELD in form.files) == (fields.audio_file_id is not None):
            raise ValidationFailed(f"Send exactly one of {AUDIO_FIELD} (a file) and audio_file_id.", param=AUDIO_FIELD)
        with self._sound(form, fields) as (audio, path):
            if fields.audio_start >= audio.duration_s:
                raise ValidationFailed(f"The sound ends after {audio.duration_s:.2f} seconds.", param="audio_start")
            wav = cut_window(path, start_s=fields.audio_start, seconds=CLIP_SECONDS)
        return HeardPart(audio, fields.audio_start, wav)

    def hear(self, part: HeardPart) -> Localization:
        """Ask the listener. Raises: LocalizerUnavailable, Busy, KeyframesNeeded."""
        heard = self.listener.hear(part.wav)
        return Localization(
            model=self.settings.model_name,
            source=heard.source or self.settings.model_name,
            fps=FPS,
            num_frames=NUM_FRAMES,
            curve=[round(value, 6) for value in heard.curve],
            peaks=list(heard.peaks),
            valleys=list(heard.valleys),
            keyframes=KeyframePlan(
                indices=list(heard.indices), seconds=[round(index / FPS, 4) for index in heard.indices]
            ),
            audio=describe_audio(part.audio, start_s=part.start_s),
        )

    @contextmanager
    def _sound(self, form: Form, fields: CreateLocalizationFields) -> Iterator[tuple[AudioInput, Path]]:
        """The sound and its canonical file, as long as the block lasts."""
        kept = kept_input(
            self.store, AudioInput, fields.audio_file_id, tenant=self.caller.tenant, param="audio_file_id"
        )
        if kept is None:
            upload = form.files[AUDIO_FIELD]
            (checked,) = check_uploads([(upload, "audio")], limits=probe_limits(self.settings))
            yield AudioInput(key="", sha256=upload.sha256, bytes=upload.size_bytes, **checked.measured), checked.path
            return
        self.settings.temp_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="sound-", dir=self.settings.temp_dir) as folder:
            path = Path(folder, "audio.wav")
            self.storage.get_to_file(kept.key, path)
            yield kept, path
