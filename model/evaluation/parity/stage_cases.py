"""Cases of whole diffusion stages on small networks; tables stand for the three pretrained encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from model.conditioning import AudioTokens, Conditioning, StageConditioning
from model.config import StageConfig
from model.diffusion.denoise import Sampling
from model.diffusion.guidance import BRANCHES, Guidance
from model.evaluation.parity.case import Case, Comparison, absolute, exact
from model.evaluation.parity.fill import labelled_normal
from model.evaluation.parity.network_cases import TEXT_TOKENS, small_resampler, small_unet, small_vae, stored_channels
from model.interpolation.interpolator import interpolate
from model.keyframes.generator import generate_keyframes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor, nn

    from model.codecs.vae import VaeCodec
    from model.networks.unet import UNet

_GRID = (12, 48)
_PICTURE_TOKENS = 10
_AUDIO_TOKENS = (577, 768)
_NAMES_OF_BRANCHES = ("uncond", "img", "img_text", "full")


class TableNoise:
    """Hands out the reference's draws by their numbers."""

    def __init__(self, label: str, numbers: Iterable[int]) -> None:
        self._label = label
        self._numbers = iter(numbers)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the next draw."""
        return labelled_normal(f"{self._label}/randn/{next(self._numbers)}", *shape)


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage of a case made ready: its networks, what they are told, and the latents that it starts from."""

    case: Case
    stage: StageConfig
    conditioning: Conditioning
    unet: UNet
    codec: VaeCodec

    @property
    def is_keyframes(self) -> bool:
        """Whether it is the keyframe stage; else it is the interpolation."""
        stage: Literal["keyframes", "interpolation"] = self.case.settings["stage"]
        return stage == "keyframes"

    def start(self) -> Tensor:
        """Latents of the first frames `[B, C, h, w]`, or of the keyframes `[1, C, K, h, w]`."""
        settings, label = self.case.settings, self.case.settings["label"]
        size = (int(settings["height"]), int(settings["width"]))
        if self.is_keyframes:
            batch, num_frames = self.case["keyframe_idx"].shape
            pictures = labelled_normal(f"{label}/image", batch, 3, *size).tanh()
            # The reference encodes every copy of the first frame and keeps the first copy of each clip.
            return self.codec.encode(pictures, noise=TableNoise(label, range(0, batch * num_frames, num_frames)))
        indices, num_frames = self._indices(), int(settings["num_frames"])
        pictures = labelled_normal(f"{label}/keyframe_clip", 1, 3, len(indices), *size).tanh()[0].transpose(0, 1)
        draws = TableNoise(label, range(num_frames, num_frames + len(indices)))
        return self.codec.encode(pictures, noise=draws).transpose(0, 1)[None]

    def generate(self, start: Tensor) -> Tensor:
        """Latents of the frames `[B, C, T, h, w]`, with the reference's draws."""
        settings, label = self.case.settings, self.case.settings["label"]
        steps = self.stage.num_inference_steps
        if self.is_keyframes:
            frames = self.case["keyframe_idx"].tolist()
            x_T = len(frames) * len(frames[0])
            return generate_keyframes(
                self.unet,
                self.conditioning,
                start,
                frames,
                stage=self.stage,
                sampling=_sampling(self.stage),
                noise=TableNoise(label, range(x_T, x_T + 1 + steps)),
            )
        indices = self._indices()
        x_T = int(settings["num_frames"]) + len(indices)
        # Two draws are wasted on keyframe noise that the reference does not use.
        draws = (x_T, x_T + 2, *range(x_T + 4, x_T + 4 + steps))
        return interpolate(
            self.unet,
            self.conditioning,
            start,
            indices,
            stage=self.stage,
            mode="released",
            sampling=_sampling(self.stage),
            noise=TableNoise(label, draws),
        )

    def _indices(self) -> list[int]:
        return [int(index) for index in self.case["keyframe_idx"].flatten()]


def prepare_stage(case: Case) -> StageRun:
    """The small networks of a case, filled as the reference's were, and its conditions."""
    settings = case.settings
    return StageRun(
        case=case,
        stage=_stage(case),
        conditioning=_conditioning(case),
        unet=small_unet(settings["unet"], stage=settings["stage"]),
        codec=small_vae(settings["vae"]),
    )


def check_stage(case: Case) -> list[Comparison]:
    """Conditions, first predictions, every latent and the first decoded frame of a stage."""
    run = prepare_stage(case)
    return _check_keyframes(run) if run.is_keyframes else _check_interpolation(run)


def _check_keyframes(run: StageRun) -> list[Comparison]:
    case, stage = run.case, run.stage
    label, tolerance = case.settings["label"], case.tolerance(5e-4)
    batch, num_frames = case["keyframe_idx"].shape
    seen = run.conditioning.at_keyframes(
        case["keyframe_idx"].tolist(), concat=case["c_concat"], fps=stage.fps, residual_scale=stage.residual_scale
    )
    noisy = labelled_normal(f"{label}/randn/{batch * num_frames}", *case["c_concat"].shape)
    predictions = _first_predictions(case, seen, run.unet, noisy)
    first_frame = run.start()
    latents_seen = _record_latents(run.unet, clips=batch)
    latents = run.generate(first_frame)
    concat = first_frame[:, :, None].expand(-1, -1, num_frames, -1, -1)
    return [
        absolute("c_concat", concat, case["c_concat"], tolerance=tolerance),
        *_conditions(case, seen),
        *predictions,
        *_results(case, latents_seen, latents, codec=run.codec),
    ]


def _check_interpolation(run: StageRun) -> list[Comparison]:
    case, stage = run.case, run.stage
    tolerance = case.tolerance(5e-4)
    seen = run.conditioning.at_all_frames(concat=case["c_concat"], fps=stage.fps, residual_scale=stage.residual_scale)
    predictions = _first_predictions(case, seen, run.unet, case["x_T"])
    keyframes = run.start()
    latents_seen = _record_latents(run.unet, clips=len(case["x_T"]))
    latents = run.generate(keyframes)
    channels = latents.shape[1]
    return [
        absolute("z_keyframe", keyframes, case["z_keyframe"], tolerance=tolerance),
        absolute("x_T", latents_seen[0][:, :channels], case["x_T"], tolerance=tolerance),
        absolute("c_concat", latents_seen[0][:, channels:], case["c_concat"], tolerance=tolerance),
        *_conditions(case, seen),
        *predictions,
        *_results(case, latents_seen, latents, codec=run.codec),
    ]


def _conditioning(case: Case) -> Conditioning:
    label, prompts = case.settings["label"], case.settings["prompts"]
    resampler = small_resampler(case.settings["resampler"])
    sizes = resampler.config
    clips, nulls = [str(number) for number in range(len(prompts))], ["null"] * len(prompts)

    def text(sentences: Sequence[str]) -> Tensor:
        return torch.stack(
            [labelled_normal(f"text:{sentence}", TEXT_TOKENS, sizes.output_dim) for sentence in sentences]
        )

    def image(names: Sequence[str]) -> Tensor:
        shape = (_PICTURE_TOKENS, sizes.embedding_dim)
        tokens = [labelled_normal(f"{label}/clip_tokens/{name}", *shape) for name in names]
        resampled: Tensor = resampler(torch.stack(tokens))
        return resampled

    def audio(names: Sequence[str]) -> AudioTokens:
        tokens = [labelled_normal(f"{label}/audio_features/{name}", *_AUDIO_TOKENS) for name in names]
        return AudioTokens(torch.stack(tokens), _GRID, "released", sizes.num_frames)

    return Conditioning(
        text=text(prompts),
        null_text=text([""] * len(prompts)),
        image=image(clips),
        null_image=image(nulls),
        audio=audio(clips),
        null_audio=audio(nulls),
    )


def _stage(case: Case) -> StageConfig:
    settings = case.settings
    return StageConfig(
        fps=int(settings["fs"]),
        num_inference_steps=int(settings["num_inference_steps"]),
        eta=float(settings["eta"]),
        guidance=Guidance(**settings["guidance"]),
    )


def _sampling(stage: StageConfig) -> Sampling:
    return Sampling(stage.num_inference_steps, stage.eta, stage.guidance)


def _conditions(case: Case, seen: StageConditioning) -> list[Comparison]:
    """What the network is told, where the case stores it."""
    told = {
        "c_audio_cond": seen.audio,
        "c_audio_uncond": seen.null_audio,
        "c_crossattn_cond": torch.cat([seen.text, seen.image.flatten(1, 2)], dim=1),
        "c_crossattn_uncond": torch.cat([seen.null_text, seen.null_image.flatten(1, 2)], dim=1),
    }
    comparisons = []
    for name in case.names("c_audio") + case.names("c_crossattn"):
        condition, channels = stored_channels(name)
        comparisons.append(absolute(name, told[condition][..., channels], case[name], tolerance=case.tolerance(5e-4)))
    return [
        *comparisons,
        exact("fs_passed", seen.fps, case["fs_passed"]),
        exact("frame_idx_passed", seen.frame_index, case["frame_idx_passed"]),
    ]


def _first_predictions(case: Case, seen: StageConditioning, unet: UNet, noisy: Tensor) -> list[Comparison]:
    """The four guidance branches at the first timestep."""
    predict = seen.predictor(unet)
    return [
        absolute(
            f"unet_out_step0_{name}",
            predict([branch], noisy, 999)[0],
            case[f"unet_out_step0_{name}"],
            tolerance=case.tolerance(5e-4),
        )
        for branch, name in zip(BRANCHES, _NAMES_OF_BRANCHES, strict=True)
        if f"unet_out_step0_{name}" in case
    ]


def _record_latents(unet: UNet, *, clips: int) -> list[Tensor]:
    """Inputs of the network in the first guidance branch, filled when it runs: one tensor for each step."""
    recorded: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        recorded.append(inputs[0][:clips])  # the branches are one batch, the first branch's clips first

    unet.register_forward_pre_hook(keep)
    return recorded


def _results(case: Case, seen: Sequence[Tensor], latents: Tensor, *, codec: VaeCodec) -> list[Comparison]:
    tolerance = case.tolerance(5e-4)
    on_the_way = [x[:, : latents.shape[1]] for x in seen[1:]]
    return [
        absolute("x_steps", torch.stack([*on_the_way, latents]), case["x_steps"], tolerance=tolerance),
        absolute("latents_out", latents, case["latents_out"], tolerance=tolerance),
        absolute("video_out.frame0", codec.draw(latents[:, :, 0]), case["video_out.frame0"], tolerance=tolerance),
    ]
