"""What a model is made of: one frozen dataclass, and its presets.

The configuration of each network stands beside the network; this module composes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.clips import VideoShape
from model.codecs.latent_flow import FlowCodecConfig
from model.codecs.vae import VaeConfig
from model.conditioning import AudioLayout  # noqa: TC001  (model.serialization reads the hints of fields)
from model.diffusion.denoise import Sampling
from model.diffusion.guidance import Guidance
from model.diffusion.schedule import NoiseSchedule, noise_schedule
from model.encoders.audio import AudioTrunkConfig
from model.encoders.image import ClipImageConfig, ConvImageConfig
from model.encoders.text import ClipTextConfig, WordTextConfig
from model.generation import InterpolationMode  # noqa: TC001  (as above)
from model.localization.network import LocalizerConfig
from model.networks.draft import DraftConfig
from model.networks.resampler import ResamplerConfig
from model.networks.unet import UNetConfig

if TYPE_CHECKING:
    from model.clips import PeakRule
    from model.generation import GenerationParams


@dataclass(frozen=True, slots=True)
class StageConfig:
    """How one diffusion stage was trained, and how it is sampled unless the request says otherwise.

    Args:
        fps: frame rate that the network is told.
        num_inference_steps, eta: DDIM steps, and how much noise each adds (0 none, 1 as much as DDPM).
        guidance: scales of Appendix H.
        residual_scale: spread of what the network adds to its base, per latent channel.
        dynamic_rescale: whether clean latents are shrunk at noisy timesteps.
    """

    fps: int
    num_inference_steps: int
    eta: float
    guidance: Guidance
    residual_scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    dynamic_rescale: bool = True

    @property
    def schedule(self) -> NoiseSchedule:
        """Noise schedule that the network was trained with."""
        return noise_schedule(dynamic_rescale=self.dynamic_rescale)

    def sampling(self, params: GenerationParams) -> Sampling:
        """Sampling that a request asks for; what it leaves open is the model's own."""

        def chosen(asked: float | None, own: float) -> float:
            return own if asked is None else asked

        own = self.guidance
        return Sampling(
            num_inference_steps=params.num_inference_steps or self.num_inference_steps,
            eta=self.eta,
            guidance=Guidance(
                text=chosen(params.guidance_text, own.text),
                image=chosen(params.guidance_image, own.image),
                audio=chosen(params.guidance_audio, own.audio),
                rescale=own.rescale,
            ),
        )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model: its video, its stages, and the networks of each component (None: it has none).

    Args:
        name: public name.
        video: frames, height and width that it generates, in pixels.
        fps: frames per second of the video.
        num_keyframes: frames that the keyframe stage paints.
        audio_layout: how frames draw on audio tokens; see `model.audio_context`.
        normalize_loudness: whether sound is mixed to mono and brought to one loudness first.
        interpolation_mode: default of the interpolation stage.
        localizer: without one, keyframes must be given.
        interpolation_resampler: the interpolation stage's own; None shares `resampler`. Published training tuned the
            resampler of each stage apart.
    """

    name: str
    video: VideoShape
    fps: int
    num_keyframes: int
    audio_layout: AudioLayout
    normalize_loudness: bool
    interpolation_mode: InterpolationMode
    keyframes: StageConfig
    interpolation: StageConfig
    text_encoder: ClipTextConfig | WordTextConfig
    image_encoder: ClipImageConfig | ConvImageConfig
    resampler: ResamplerConfig | None
    audio_encoder: AudioTrunkConfig
    localizer: LocalizerConfig | None
    keyframes_unet: UNetConfig
    interpolation_unet: UNetConfig
    codec: VaeConfig | FlowCodecConfig
    draft: DraftConfig | None = None
    interpolation_resampler: ResamplerConfig | None = None

    @property
    def clip_seconds(self) -> float:
        """Length of the video, and of the sound that drives it."""
        return self.video.frames / self.fps

    @property
    def peak_rule(self) -> PeakRule:
        """How peaks and valleys are found in a motion curve; the paper's way where there is no localizer."""
        return "paper" if self.localizer is None else self.localizer.peak_rule


def keyvid_512() -> ModelConfig:
    """The published network: 320 x 512, VAE, OpenCLIP and ImageBind; needs a GPU."""
    return ModelConfig(
        name="keyvid-512",
        video=VideoShape(frames=48, height=320, width=512),
        fps=24,
        num_keyframes=12,
        audio_layout="released",
        normalize_loudness=False,
        interpolation_mode="released",
        keyframes=StageConfig(
            fps=6, num_inference_steps=90, eta=1.0, guidance=Guidance(text=7.5, image=2.0, audio=7.5, rescale=0.7)
        ),
        interpolation=StageConfig(
            fps=24, num_inference_steps=90, eta=1.0, guidance=Guidance(text=7.5, image=2.0, audio=9.0, rescale=0.7)
        ),
        text_encoder=ClipTextConfig(),
        image_encoder=ClipImageConfig(),
        resampler=ResamplerConfig(),
        audio_encoder=AudioTrunkConfig(),
        localizer=LocalizerConfig(
            trunk=AudioTrunkConfig(stride=(4, 4), mel_frames=198, has_class_token=False), head="token_mixing"
        ),
        keyframes_unet=UNetConfig(),
        interpolation_unet=UNetConfig(has_frame_index=False),
        codec=VaeConfig(),
        interpolation_resampler=ResamplerConfig(),
    )


def keyvid_mini() -> ModelConfig:
    """The model that ships inside: latent flow at 10 x 16 cells, a learned motion draft, two CPU cores."""
    guidance = Guidance(text=1.0, image=1.0, audio=1.0)
    trunk = AudioTrunkConfig(dim=128, depth=4, heads=4, kernel=(128, 16), stride=(128, 4), drop_path=0.0)
    text, image = WordTextConfig(dim=96), ConvImageConfig(dim=96, has_face_map=True)
    resampler = ResamplerConfig(
        dim=96, depth=1, head_width=24, heads=4, num_queries=2, embedding_dim=image.dim, output_dim=96, ff_mult=2
    )
    codec = FlowCodecConfig()
    latent_channels = len(codec.scale)
    unet = UNetConfig(
        in_channels=3 * latent_channels + image.dim,
        out_channels=latent_channels,
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_downsample=(2,),
        head_width=16,
        init_attention_heads=0,
        num_groups=8,
        context_dim=96,
        audio_dim=trunk.dim,
        has_frame_index=True,
        dropout=0.0,
    )
    return ModelConfig(
        name="keyvid-mini",
        video=VideoShape(frames=48, height=320, width=512),
        fps=24,
        num_keyframes=12,
        audio_layout="aligned",
        normalize_loudness=True,
        interpolation_mode="freenoise",
        # Residual scales: what `residual_spread` of model.training measured around the shipped draft.
        keyframes=StageConfig(
            fps=6,
            # More steps cost time and add jitter; with fewer, seeds would not differ: docs/model-card.md
            num_inference_steps=2,
            eta=0.0,
            guidance=guidance,
            residual_scale=(0.142, 0.153, 0.040, 0.037),
            dynamic_rescale=False,
        ),
        interpolation=StageConfig(
            fps=24,
            num_inference_steps=1,
            eta=0.0,
            guidance=guidance,
            residual_scale=(0.083, 0.099, 0.035, 0.044),
            dynamic_rescale=False,
        ),
        text_encoder=text,
        image_encoder=image,
        resampler=resampler,
        audio_encoder=trunk,
        localizer=LocalizerConfig(trunk=trunk, head="per_step", peak_rule="onsets"),
        keyframes_unet=unet,
        interpolation_unet=unet,
        codec=codec,
        draft=DraftConfig(text_dim=text.dim, feature_dim=image.dim, num_products=16, num_integrated=4, basis_stride=2),
    )


def tiny(*, height: int = 64, width: int = 128) -> ModelConfig:
    """The published pipeline with networks of width 16, for tests: every part is real, no weight is trained."""
    video = VideoShape(frames=48, height=height, width=width)
    trunk = AudioTrunkConfig(dim=32, depth=1, heads=2)
    image = ConvImageConfig(input=(40, 64), channels=(16, 16), dim=32)
    unet = UNetConfig(
        model_channels=16,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_downsample=(1,),
        head_width=8,
        init_attention_heads=2,
        num_groups=8,
        context_dim=32,
        audio_dim=trunk.dim,
    )
    guidance = Guidance(text=2.0, image=1.5, audio=3.0, rescale=0.7)
    return ModelConfig(
        name="tiny",
        video=video,
        fps=24,
        num_keyframes=12,
        audio_layout="released",
        normalize_loudness=False,
        interpolation_mode="released",
        keyframes=StageConfig(fps=6, num_inference_steps=2, eta=1.0, guidance=guidance),
        interpolation=StageConfig(fps=24, num_inference_steps=2, eta=1.0, guidance=guidance),
        text_encoder=WordTextConfig(num_buckets=64, dim=32),
        image_encoder=image,
        resampler=ResamplerConfig(
            dim=32, depth=1, head_width=8, heads=2, num_queries=4, embedding_dim=image.dim, output_dim=32
        ),
        audio_encoder=trunk,
        localizer=LocalizerConfig(trunk=replace(trunk, mel_frames=198, has_class_token=False)),
        keyframes_unet=unet,
        interpolation_unet=replace(unet, has_frame_index=False),
        codec=VaeConfig(channels=8, num_groups=4),
    )
