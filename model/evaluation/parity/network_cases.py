"""Cases of the diffusion networks and their encoders at small sizes, with deterministic weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from model.checkpoints import keymap
from model.codecs.vae import VaeCodec, VaeConfig
from model.encoders.image import ClipImageConfig, ClipImageEncoder
from model.encoders.text import ClipTextConfig, ClipTextEncoder
from model.evaluation.parity.case import Case, Comparison, absolute, relative
from model.evaluation.parity.diffusion_cases import StoredNoise
from model.evaluation.parity.fill import fill_as_published, labelled_normal
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import Tensor, nn

TEXT_TOKENS = 77
_IMAGE_TOKENS = 16
_AUDIO_TOKENS = 12

# Where our network has what the reference recorded.
_UNET_TAPS = {
    "after_input_block_0": "encoder.0.convolution",
    "after_init_attn": "encoder.0",
    "input_block_1_resblock": "encoder.1.residual",
    "input_block_1_spatial": "encoder.1.spatial",
    "after_input_block_1": "encoder.1",
    "after_middle_block": "middle",
    "after_output_block_2": "decoder.2",
}


def small_unet(settings: Mapping[str, Any], *, stage: str) -> UNet:
    """The filled network of a stage with the width that `settings` gives."""
    config = UNetConfig(
        model_channels=int(settings["model_channels"]),
        head_width=int(settings["num_head_channels"]),
        has_frame_index=stage == "keyframes",
    )
    network = UNet(config)
    fill_as_published(network, keymap.UNET)
    return network


def small_vae(settings: Mapping[str, Any]) -> VaeCodec:
    """The filled autoencoder with the width that `settings` gives."""
    codec = VaeCodec(VaeConfig(channels=int(settings["ch"])))
    fill_as_published(codec, keymap.VAE)
    return codec


def small_resampler(settings: Mapping[str, Any]) -> Resampler:
    """The filled resampler of the size that `settings` gives."""
    config = ResamplerConfig(
        dim=int(settings["dim"]),
        depth=int(settings["depth"]),
        head_width=int(settings["dim_head"]),
        heads=int(settings["heads"]),
        num_queries=int(settings["num_queries"]),
        embedding_dim=int(settings["embedding_dim"]),
        output_dim=int(settings["output_dim"]),
        ff_mult=int(settings["ff_mult"]),
        num_frames=int(settings["video_length"]),
    )
    network = Resampler(config)
    fill_as_published(network, keymap.RESAMPLER)
    return network


def check_unet(case: Case) -> list[Comparison]:
    """Output and recorded inner tensors of a video UNet; errors are relative to the largest value."""
    settings, tolerance = case.settings, case.tolerance(1e-4)
    network = small_unet(settings, stage=settings["stage"])
    config = network.config
    label, batch, frames = settings["label"], int(settings["batch"]), int(settings["num_frames"])
    size = (int(settings["latent_height"]), int(settings["latent_width"]))
    drawn = labelled_normal(f"{label}/x", batch, config.in_channels, frames, *size)
    x = case.tensors.get("in.x", drawn)
    context = labelled_normal(f"{label}/context", batch, TEXT_TOKENS + _IMAGE_TOKENS * frames, config.context_dim)
    audio = labelled_normal(f"{label}/c_audio", batch, frames, _AUDIO_TOKENS, config.audio_dim)
    recorded = _record(network, case.names("tap."))
    window = settings.get("freenoise_windows")
    output = network(
        x,
        case["timesteps"],
        context=network.read(
            text=context[:, :TEXT_TOKENS],
            image=context[:, TEXT_TOKENS:].reshape(batch, frames, _IMAGE_TOKENS, -1),
            audio=audio,
        ),
        fps=case["fs"],
        frame_index=case["frame_idx"],
        temporal_window=None if window is None else (int(window[0]), int(window[1])),
    )
    recorded["output"] = output
    if "tap.emb" in case:
        recorded["tap.emb"] = network.embed(
            case["timesteps"], fps=case["fs"], frame_index=case["frame_idx"], num_frames=frames
        )
    inputs = {"x": drawn, "context": context, "c_audio": audio}
    comparisons = [
        absolute(f"check.{name}", _ends(value), case[f"check.{name}"], tolerance=1e-6)
        for name, value in inputs.items()
        if f"check.{name}" in case
    ]
    return comparisons + [relative(tap, value, case[tap], tolerance=tolerance) for tap, value in recorded.items()]


def _ends(values: Tensor) -> Tensor:
    flat = values.flatten()
    return torch.stack([flat[:8], flat[-8:]])


def _record(network: nn.Module, taps: list[str]) -> dict[str, Tensor]:
    """Tensors of the named taps, filled when the network runs; `.ch0_16` keeps the first 16 channels."""
    recorded: dict[str, Tensor] = {}
    for tap in taps:
        if tap == "tap.emb":
            continue
        place, channels = stored_channels(tap.removeprefix("tap."))

        def keep(
            _module: nn.Module, _inputs: object, output: Tensor, tap: str = tap, channels: slice = channels
        ) -> None:
            recorded[tap] = output[:, channels]

        network.get_submodule(_UNET_TAPS[place]).register_forward_hook(keep)
    return recorded


def stored_channels(name: str) -> tuple[str, slice]:
    """The tensor that `name` means, and which of its channels were stored (`.ch0_16`: the first 16)."""
    match = re.fullmatch(r"(.*)\.ch(\d+)_(\d+)", name)
    return (match[1], slice(int(match[2]), int(match[3]))) if match else (name, slice(None))


def check_resampler(case: Case) -> list[Comparison]:
    """Tokens per frame from the tokens of one picture."""
    output = small_resampler(case.settings)(case["x"]).flatten(1, 2)
    return [absolute("output", output, case["output"], tolerance=case.tolerance(1e-5))]


def check_vae(case: Case) -> list[Comparison]:
    """Posterior, scaled sample and decoded picture."""
    codec, tolerance = small_vae(case.settings), case.tolerance(1e-5)
    mean, log_variance = codec.posterior(case["x"])
    # One draw for each picture, as the codec asks for them.
    noise = StoredNoise(torch.split(case["noise"], 1))
    computed = {
        "mean": mean,
        "logvar": log_variance,
        "latent_scaled": codec.encode(case["x"], noise=noise),
        "decoded": codec.draw(case["latent_scaled"]),
    }
    return [absolute(name, value, case[name], tolerance=tolerance) for name, value in computed.items()]


def check_text(case: Case) -> list[Comparison]:
    """Tokens of prompts, read after the last but one layer."""
    settings = case.settings
    heads, depth = int(settings["heads"]), int(settings["layers"]) - 1
    encoder = ClipTextEncoder(ClipTextConfig(dim=int(settings["width"]), depth=depth, heads=heads))
    fill_as_published(encoder, keymap.CLIP_TEXT)
    tokens = encoder.encode_tokens(case["token_ids"])
    return [absolute("output", tokens, case["output"], tolerance=case.tolerance(1e-5))]


def check_image(case: Case) -> list[Comparison]:
    """Squeezing, normalising and encoding a picture, and the null picture's tokens."""
    settings, tolerance = case.settings, case.tolerance(1e-5)
    width = int(settings["width"])
    config = ClipImageConfig(
        dim=width,
        depth=int(settings["layers"]),
        heads=width // int(settings["head_width"]),
        patch_px=int(settings["patch"]),
    )
    encoder = ClipImageEncoder(config)
    fill_as_published(encoder, keymap.CLIP_IMAGE)
    size = (int(settings["height"]), int(settings["image_width"]))
    image = functional.interpolate(case["low"], size=size, mode="nearest").tanh()
    computed = {
        "preprocessed": encoder.preprocess(image),
        "tokens": encoder.encode(image),
        "tokens_of_zero_image": encoder.encode(torch.zeros_like(image)),
    }
    return [absolute(name, value, case[name], tolerance=tolerance) for name, value in computed.items()]
