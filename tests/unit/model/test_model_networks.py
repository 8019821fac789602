"""Laws of the video UNet and the image resampler, at small sizes and with random weights."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.networks import attention
from model.networks.attention import ContextTokens, CrossAttention, SelfAttention, TemporalWindows, attend
from model.networks.embeddings import NumberEmbedding, sinusoidal_embedding
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig

CONFIG = UNetConfig(
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_downsample=(1,),
    head_width=8,
    init_attention_heads=2,
    num_groups=4,
    context_dim=12,
    audio_dim=10,
)
FRAMES = 6
ROUNDING = 1e-5


def _random_unet(config: UNetConfig = CONFIG) -> UNet:
    """A network none of whose weights is zero."""
    torch.manual_seed(0)
    network = UNet(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2)
    return network


def _inputs(batch: int = 2, frames: int = FRAMES) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "x": draw(batch, CONFIG.in_channels, frames, 4, 6),
        "timesteps": torch.arange(batch) * 400 + 99,
        "text": draw(batch, 5, CONFIG.context_dim),
        "image": draw(batch, frames, 3, CONFIG.context_dim),
        "audio": draw(batch, frames, 4, CONFIG.audio_dim),
        "fps": torch.full((batch,), 6),
        "frame_index": torch.arange(frames).expand(batch, -1) * 3,
    }


@torch.no_grad()
def _run(network: UNet, inputs: dict[str, Tensor], *, window: tuple[int, int] | None = None) -> Tensor:
    told = {name: inputs[name] for name in ("text", "image", "audio")}
    others = {name: tensor for name, tensor in inputs.items() if name not in told}
    out: Tensor = network(**others, context=network.read(**told), temporal_window=window)
    return out


def test_videos_of_a_batch_do_not_mix() -> None:
    """Each video of a batch comes out as it does alone."""
    network, inputs = _random_unet(), _inputs()

    together = _run(network, inputs)
    alone = [_run(network, {name: tensor[i : i + 1] for name, tensor in inputs.items()}) for i in range(2)]

    assert together.shape == (2, CONFIG.out_channels, FRAMES, 4, 6)
    torch.testing.assert_close(together, torch.cat(alone), rtol=ROUNDING, atol=ROUNDING)


def test_conditions_read_once_serve_every_step() -> None:
    """Keys and values made before the first step lead to what making them anew at each step does."""
    network, inputs = _random_unet(), _inputs()
    told = {name: inputs.pop(name) for name in ("text", "image", "audio")}

    with torch.no_grad():
        kept = network.read(**told)
        for timestep in (900, 10):
            inputs["timesteps"] = torch.full((2,), timestep)
            torch.testing.assert_close(
                network(**inputs, context=kept), _run(network, {**inputs, **told}), rtol=0, atol=0
            )


def test_a_network_compiles_in_one_piece() -> None:
    """Nothing in it makes torch fall back, windows and read conditions included; the numbers stay."""
    network, inputs = _random_unet(), _inputs(batch=1)
    expected = _run(network, inputs, window=(4, 2))

    network.compile(backend="eager", dynamic=False, fullgraph=True)

    torch.testing.assert_close(_run(network, inputs, window=(4, 2)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["x", "timesteps", "text", "image", "audio", "fps", "frame_index"])
def test_every_input_matters(name: str) -> None:
    """Another value of any input gives another prediction."""
    network, inputs = _random_unet(), _inputs()
    changed = {**inputs, name: inputs[name] + 1}

    assert (_run(network, changed) - _run(network, inputs)).abs().max() > 1e-3


def test_sound_of_one_frame_enters_there_first() -> None:
    """Without layers along time, the sound of a frame changes that frame only."""
    network, inputs = _random_unet(), _inputs()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".temporal." in name and (".output." in name or ".stages.3.convolution." in name):
                parameter.zero_()
    louder = inputs["audio"].clone()
    louder[:, 2] += 1

    difference = (_run(network, {**inputs, "audio": louder}) - _run(network, inputs)).abs().amax(dim=(0, 1, 3, 4))

    assert difference[2] > 1e-3
    assert difference[[0, 1, 3, 4, 5]].max() < ROUNDING


def test_fresh_network_is_silent_and_deaf() -> None:
    """Before training the prediction is zero, and the sound's keys and values are zero."""
    network = UNet(CONFIG).eval()

    assert _run(network, _inputs()).abs().max() == 0
    assert not any(
        p.any() for name, p in network.named_parameters() if ".audio_key." in name or ".audio_value." in name
    )


def test_short_videos_need_no_windows() -> None:
    """A window that holds the whole video is full attention."""
    network, inputs = _random_unet(), _inputs()

    torch.testing.assert_close(_run(network, inputs, window=(FRAMES, 3)), _run(network, inputs))


def test_windows_change_long_videos() -> None:
    """Attention in windows differs from attention to all frames."""
    network, inputs = _random_unet(), _inputs()

    assert (_run(network, inputs, window=(4, 2)) - _run(network, inputs)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("x", (2, 8, FRAMES, 5, 6), "multiples of 2"),
        ("text", (1, 5, 12), "tokens are not of 2 videos"),
        ("image", (2, FRAMES - 1, 3, 12), "tokens are not of 2 videos"),
        ("audio", (1, FRAMES, 4, 10), "tokens are not of 2 videos"),
    ],
)
def test_sizes_that_disagree_are_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    """Sizes that cannot be halved and token counts that do not match the frames are errors."""
    with pytest.raises(ValueError, match=message):
        _run(_random_unet(), {**_inputs(), name: torch.zeros(shape)})


def test_frame_indices_are_needed_where_they_are_an_input() -> None:
    """The keyframe network refuses to run without frame indices; the interpolation network ignores them."""
    inputs = _inputs()
    without = {name: tensor for name, tensor in inputs.items() if name != "frame_index"}
    interpolation = _random_unet(replace(CONFIG, has_frame_index=False))

    with pytest.raises(ValueError, match="index of each frame"):
        _run(_random_unet(), without)
    torch.testing.assert_close(_run(interpolation, without), _run(interpolation, inputs))


@pytest.mark.parametrize("wrong", [{"head_width": 5}, {"num_groups": 5}])
def test_configurations_must_divide(wrong: dict[str, int]) -> None:
    """Heads and groups that do not divide a width are errors."""
    with pytest.raises(ValueError, match="not whole heads"):
        replace(CONFIG, **wrong)


@pytest.mark.parametrize(("frames", "length", "stride"), [(48, 12, 6), (12, 12, 6), (9, 5, 2)])
def test_windows_cover_all_frames(frames: int, length: int, stride: int) -> None:
    """Fusing windows of a sequence gives the sequence back, whatever the overlap."""
    sequences = torch.randn(3, frames, 4, generator=torch.Generator().manual_seed(0))
    windows = TemporalWindows.build(
        frames, length=length, stride=stride, dtype=sequences.dtype, device=sequences.device
    )

    torch.testing.assert_close(windows.fuse(windows.split(sequences)), sequences)


def test_windows_count_most_in_their_middle() -> None:
    """Frame 9 lies at position 9 of the first window and 3 of the second: weights 3 and 4, of 7."""
    windows = TemporalWindows.build(18, length=12, stride=6, dtype=torch.float32, device=torch.device("cpu"))

    torch.testing.assert_close(windows.shares[[0, 1], [9, 3], 0], torch.tensor([3 / 7, 4 / 7]))


@pytest.mark.parametrize(("frames", "length", "stride"), [(47, 12, 6), (10, 12, 6), (48, 12, 0), (48, 6, 12)])
def test_windows_that_leave_gaps_are_refused(frames: int, length: int, stride: int) -> None:
    """Windows that miss frames are an error."""
    with pytest.raises(ValueError, match="do not cover"):
        TemporalWindows.build(frames, length=length, stride=stride, dtype=torch.float32, device=torch.device("cpu"))


def test_attention_of_many_sequences_runs_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More sequences than a kernel takes give the same result."""
    query, key, value = torch.randn(3, 7, 5, 8, generator=torch.Generator().manual_seed(0))
    whole = attend(query, key, value, heads=2)

    monkeypatch.setattr(attention, "_MAX_SEQUENCES", 3)

    torch.testing.assert_close(attend(query, key, value, heads=2), whole)


def test_windowed_attention_stays_within_windows() -> None:
    """A frame hears of another only through a window that holds both."""
    torch.manual_seed(0)
    layer = SelfAttention(8, heads=2)
    frames = torch.randn(1, 9, 8)
    windows = TemporalWindows.build(9, length=3, stride=3, dtype=frames.dtype, device=frames.device)
    changed = frames.clone()
    changed[:, 0] += 1

    with torch.no_grad():
        difference = (layer(changed, windows=windows) - layer(frames, windows=windows)).abs().amax(dim=(0, 2))

    assert difference[:3].min() > 1e-4
    assert difference[3:].max() == 0


def test_audio_gate_scales_the_sound() -> None:
    """The gate is 1 + tanh(beta): a very negative beta silences the sound."""
    torch.manual_seed(0)
    layer = CrossAttention(8, context_dim=6, heads=2)
    torch.nn.init.normal_(layer.audio_key.weight)
    torch.nn.init.normal_(layer.audio_value.weight)
    tokens, text, image = torch.randn(2, 4, 8), torch.randn(1, 3, 6), torch.randn(2, 3, 6)
    loud, quiet = (ContextTokens(text, image, torch.randn(2, 3, 6)) for _ in range(2))

    with torch.no_grad():
        audible = (layer(tokens, layer.read(loud)) - layer(tokens, layer.read(quiet))).abs().max()
        layer.audio_gate.fill_(-30.0)
        silenced = (layer(tokens, layer.read(loud)) - layer(tokens, layer.read(quiet))).abs().max()

    assert audible > 1e-2
    assert silenced == 0


def test_sinusoids_begin_with_cosines() -> None:
    """Zero becomes ones (cosines), then zeros (sines); the first frequency is 1."""
    embedding = sinusoidal_embedding(torch.tensor([0, 1]), 4)

    assert embedding[0].tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(embedding[1, [0, 2]], torch.tensor([math.cos(1), math.sin(1)]))


def test_new_number_embeddings_can_start_at_zero() -> None:
    """A zero-initialised embedding leaves the network as it was."""
    values = torch.arange(3)

    assert not NumberEmbedding(4, 8, zero_initialized=True)(values).any()
    assert NumberEmbedding(4, 8, zero_initialized=False)(values).any()


def test_resampler_gives_tokens_to_each_frame() -> None:
    """Any number of picture tokens becomes `num_queries` normalised tokens for each frame, unlike between frames."""
    torch.manual_seed(0)
    config = ResamplerConfig(
        dim=16, depth=1, head_width=4, heads=2, num_queries=3, embedding_dim=10, output_dim=12, num_frames=5
    )
    network = Resampler(config).eval()

    with torch.no_grad():
        tokens = network(torch.randn(2, 7, 10))
        other = network(torch.randn(2, 7, 10))

    assert tokens.shape == (2, 5, 3, 12)
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 5, 3), rtol=0, atol=1e-5)
    assert (tokens[:, 0] - tokens[:, 1]).abs().max() > 1e-2
    assert (tokens - other).abs().max() > 1e-3
