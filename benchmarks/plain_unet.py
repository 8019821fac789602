"""The video UNet, plainly: the formulas of the paper and the release one after the other, to be compared with.

Nothing is kept between calls, attention is two einsums around a softmax, every frame has its own copy of the prompt,
convolutions along time are three-dimensional. It reads the weights of `model.networks.unet.UNet` by their names and
shares no code with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from model.networks.unet import UNetConfig

_BLOCK_EPS = 1e-5
_TRANSFORMER_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a network whose names begin with `prefix`."""

    tensors: Mapping[str, Tensor]
    prefix: str = ""

    def at(self, name: str | int) -> Weights:
        """Those of one part."""
        return Weights(self.tensors, f"{self.prefix}{name}.")

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return f"{self.prefix}{name}" in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[f"{self.prefix}{name}"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        """A linear layer, with a bias where there is one."""
        bias = self[f"{name}.bias"] if self.has(f"{name}.bias") else None
        return functional.linear(x, self[f"{name}.weight"], bias)

    def convolution(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 1) -> Tensor:
        """A convolution of frames."""
        return functional.conv2d(x, self[f"{name}.weight"], self[f"{name}.bias"], stride, padding)

    def group_norm(self, name: str, x: Tensor, groups: int, *, eps: float) -> Tensor:
        """A group norm over all axes but the first two."""
        return functional.group_norm(x, groups, self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """A layer norm over the last axis."""
        weight = self[f"{name}.weight"]
        return functional.layer_norm(x, weight.shape, weight, self[f"{name}.bias"], _BLOCK_EPS)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a call is told: embedding `[B * T, E]`, tokens of every frame `[B * T, N, D]`, frames, and windows."""

    embedding: Tensor
    text: Tensor
    image: Tensor
    audio: Tensor
    num_frames: int
    window: tuple[int, int] | None
    groups: int
    head_width: int


def plain_unet(
    weights: Weights,
    config: UNetConfig,
    x: Tensor,
    timesteps: Tensor,
    *,
    text: Tensor,
    image: Tensor,
    audio: Tensor,
    fps: Tensor,
    frame_index: Tensor,
    window: tuple[int, int] | None = None,
) -> Tensor:
    """Predict the velocity of `x` `[B, in_channels, T, h, w]`; other shapes as in `UNet.read` and `UNet.forward`."""
    batch, _, num_frames = x.shape[:3]
    channels = config.model_channels
    embedding = _embed(weights.at("time_embedding"), timesteps, channels)
    embedding = embedding + _embed(weights.at("fps_embedding"), fps, channels)
    embedding = embedding[:, None].expand(-1, num_frames, -1)
    if config.has_frame_index:
        embedding = embedding + _embed(weights.at("frame_index_embedding"), frame_index, channels)
    told = Conditions(
        embedding=functional.silu(embedding.flatten(0, 1)),
        text=text.repeat_interleave(num_frames, dim=0),
        image=image.flatten(0, 1),
        audio=functional.normalize(weights.linear("audio_projection", audio), dim=-1, eps=1e-12).flatten(0, 1),
        num_frames=num_frames,
        window=window if window is not None and num_frames > window[0] else None,
        groups=config.num_groups,
        head_width=config.head_width,
    )
    h = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
    first = weights.at("encoder").at(0)
    h = first.convolution("convolution", h)
    if config.init_attention_heads:
        h = _temporal_transformer(first.at("temporal"), h, told)
    skips = [h]
    index = 1
    while weights.has(f"encoder.{index}.residual.norm_in.weight") or weights.has(f"encoder.{index}.convolution.weight"):
        block = weights.at("encoder").at(index)
        if block.has("residual.norm_in.weight"):
            h = _level(block, h, told)
        else:
            h = block.convolution("convolution", h, stride=2)
        skips.append(h)
        index += 1
    middle = weights.at("middle")
    h = _residual(middle.at("residual_in"), h, told)
    h = _spatial_transformer(middle.at("spatial"), h, told)
    h = _temporal_transformer(middle.at("temporal"), h, told)
    h = _residual(middle.at("residual_out"), h, told)
    for index in range(len(skips)):
        h = _level(weights.at("decoder").at(index), torch.cat([h, skips.pop()], dim=1), told)
    h = functional.silu(weights.group_norm("output_norm", h, config.num_groups, eps=_BLOCK_EPS))
    out = weights.convolution("output_convolution", h)
    return out.unflatten(0, (batch, num_frames)).permute(0, 2, 1, 3, 4)


def _embed(weights: Weights, values: Tensor, dim: int) -> Tensor:
    """Cosines, then sines; two linear layers around a SiLU."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=values.device) / half)
    angles = values[..., None].float() * frequencies
    sinusoids = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return weights.linear("contract", functional.silu(weights.linear("expand", sinusoids)))


def _level(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    h = _residual(weights.at("residual"), x, told)
    if weights.has("spatial.norm.weight"):
        h = _spatial_transformer(weights.at("spatial"), h, told)
        h = _temporal_transformer(weights.at("temporal"), h, told)
    if weights.has("upsample.convolution.weight"):
        h = weights.convolution("upsample.convolution", functional.interpolate(h, scale_factor=2.0, mode="nearest"))
    return h


def _residual(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    h = functional.silu(weights.group_norm("norm_in", x, told.groups, eps=_BLOCK_EPS))
    h = weights.convolution("convolution_in", h)
    h = h + weights.linear("embedding", told.embedding)[:, :, None, None]
    h = functional.silu(weights.group_norm("norm_out", h, told.groups, eps=_BLOCK_EPS))
    h = weights.convolution("convolution_out", h)
    x = weights.convolution("skip", x, padding=0) if weights.has("skip.weight") else x
    return _temporal_convolutions(weights.at("temporal").at("stages"), x + h, told)


def _temporal_convolutions(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    video = x.unflatten(0, (-1, told.num_frames)).transpose(1, 2)
    h = video
    for stage in range(4):
        own = weights.at(stage)
        h = functional.silu(own.group_norm("norm", h, told.groups, eps=_BLOCK_EPS))
        kernel = own["convolution.weight"][..., None]  # three frames, one pixel
        h = functional.conv3d(h, kernel, own["convolution.bias"], padding=(1, 0, 0))
    return (video + h).transpose(1, 2).flatten(0, 1)


def _spatial_transformer(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    tokens = weights.group_norm("norm", x, told.groups, eps=_TRANSFORMER_EPS).flatten(2).transpose(1, 2)
    h = weights.linear("input", tokens)
    layer = weights.at("layer")
    h = h + _self_attention(layer.at("attention"), layer.layer_norm("attention_norm", h), told, window=None)
    h = h + _cross_attention(layer.at("cross_attention"), layer.layer_norm("cross_attention_norm", h), told)
    h = h + _feed_forward(layer.at("feed_forward"), layer.layer_norm("feed_forward_norm", h))
    return x + weights.linear("output", h).transpose(1, 2).unflatten(2, x.shape[2:])


def _temporal_transformer(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    video = x.unflatten(0, (-1, told.num_frames)).transpose(1, 2)
    normed = weights.group_norm("norm", video, told.groups, eps=_TRANSFORMER_EPS)
    batch, _, _, height, width = video.shape
    h = weights.linear("input", normed.permute(0, 3, 4, 2, 1).flatten(0, 2))
    layer = weights.at("layer")
    for name in ("first_attention", "second_attention"):
        h = h + _self_attention(layer.at(name), layer.layer_norm(f"{name}_norm", h), told, window=told.window)
    h = h + _feed_forward(layer.at("feed_forward"), layer.layer_norm("feed_forward_norm", h))
    out = weights.linear("output", h).unflatten(0, (batch, height, width))
    return x + out.permute(0, 3, 4, 1, 2).flatten(0, 1)


def _self_attention(weights: Weights, x: Tensor, told: Conditions, *, window: tuple[int, int] | None) -> Tensor:
    q, k, v = (weights.linear(name, x) for name in ("query", "key", "value"))
    if window is None:
        return weights.linear("output", _attend(q, k, v, told.head_width))
    length, stride = window
    importance = torch.tensor([min(i + 1, length - i) for i in range(length)], dtype=x.dtype, device=x.device)
    total, weight = torch.zeros_like(x), torch.zeros(x.shape[1], 1, dtype=x.dtype, device=x.device)
    for start in range(0, x.shape[1] - length + 1, stride):
        frames = slice(start, start + length)
        total[:, frames] += importance[:, None] * _attend(q[:, frames], k[:, frames], v[:, frames], told.head_width)
        weight[frames] += importance[:, None]
    return weights.linear("output", total / weight)


def _cross_attention(weights: Weights, x: Tensor, told: Conditions) -> Tensor:
    query = weights.linear("query", x)
    reads, sees, hears = (
        _attend(query, weights.linear(f"{name}_key", tokens), weights.linear(f"{name}_value", tokens), told.head_width)
        for name, tokens in (("text", told.text), ("image", told.image), ("audio", told.audio))
    )
    return weights.linear("output", reads + sees + (1 + weights["audio_gate"].tanh()) * hears)


def _attend(q: Tensor, k: Tensor, v: Tensor, head_width: int) -> Tensor:
    q, k, v = (t.unflatten(2, (-1, head_width)) for t in (q, k, v))
    scores = torch.einsum("blhd,bshd->bhls", q, k) / math.sqrt(head_width)
    return torch.einsum("bhls,bshd->blhd", scores.softmax(dim=-1), v).flatten(2)


def _feed_forward(weights: Weights, x: Tensor) -> Tensor:
    content, gate = weights.linear("expand", x).chunk(2, dim=-1)
    return weights.linear("contract", content * functional.gelu(gate))
