"""The localizer in a listener's memory; beside the runner, the only module that imports `model`."""

from __future__ import annotations

import io
import os
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.jobs import Keyframes

if TYPE_CHECKING:
    from model.clips import AudioClip
    from model.localization.listener import Listener
    from workers.settings import Settings

SILENCE_RATE = 16_000


class CannotHear(Exception):
    """The model has no localizer, and borrows none."""


class NotASound(Exception):
    """These are not the bytes of a 16-bit WAV."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What hears; `listener` is None where the settings name nobody. `num_keyframes` is what the model paints."""

    listener: Listener | None
    num_keyframes: int

    def hear(self, wav: bytes) -> Keyframes:
        """Keyframes of a 16-bit WAV's first two seconds, as a runner would hear them.

        Raises: CannotHear, NotASound.
        """
        import torch  # noqa: PLC0415 - loaded by now

        from model.localization.plan import plan_keyframes  # noqa: PLC0415

        if self.listener is None:
            raise CannotHear
        with torch.inference_mode():
            curve = self.listener.hear(_clip_of(wav), device=torch.device("cpu"))
        plan = plan_keyframes(curve, num_keyframes=self.num_keyframes)
        return Keyframes(plan.indices, curve.values, curve.peaks, curve.valleys, source=self.listener.name)


def load_hearing(settings: Settings) -> Hearing:
    """Load the localizer that the settings name, on the CPU.

    Raises: the model's CheckpointError.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the runner: read when torch is loaded
    import torch  # noqa: PLC0415 - as said above

    from model.localization.lending import load_listener  # noqa: PLC0415
    from model.pretrained import read_config, weights_folder  # noqa: PLC0415

    torch.set_num_threads(1)  # a sound takes milliseconds; the cores are the runner's
    config = read_config(weights_folder(settings.model))
    listener = load_listener(settings.model, localizer=settings.localizer, device=torch.device("cpu"))
    return Hearing(listener, config.num_keyframes)


def wav_of_silence(seconds: float) -> bytes:
    """A 16-bit WAV in which nothing is heard, 16 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((1, 2, SILENCE_RATE, 0, "NONE", ""))
        output.writeframes(bytes(2 * round(seconds * SILENCE_RATE)))
    return file.getvalue()


def _clip_of(wav: bytes) -> AudioClip:
    import torch  # noqa: PLC0415

    from model.clips import AudioClip  # noqa: PLC0415

    try:
        with wave.open(io.BytesIO(wav)) as file:
            channels, rate = file.getnchannels(), file.getframerate()
            pcm = bytearray(file.readframes(file.getnframes()))
            is_pcm16 = file.getsampwidth() == 2
    except (wave.Error, EOFError) as error:
        raise NotASound from error
    if not is_pcm16 or not pcm or len(pcm) % (2 * channels):
        raise NotASound
    samples = torch.frombuffer(pcm, dtype=torch.int16).view(-1, channels).T
    return AudioClip(samples.float() / 32768, rate)
