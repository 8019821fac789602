"""`keyvid parity` on a folder that it has never seen: the same kinds of cases with other sizes, labels and seeds."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from model.diffusion.denoise import PinnedFrames, Sampling, denoise
from model.diffusion.guidance import Guidance
from model.diffusion.schedule import noise_schedule
from model.evaluation.parity.case import Case
from model.evaluation.parity.cli import app
from model.evaluation.parity.diffusion_cases import StoredNoise, analytic_velocity
from model.evaluation.parity.fill import labelled_normal
from model.evaluation.parity.network_cases import small_resampler, small_unet, small_vae
from model.evaluation.parity.stage_cases import prepare_stage
from model.interpolation.freenoise import blend_between_keyframes, reschedule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    Stored = tuple[dict[str, Any], Mapping[str, Tensor]]

UNET = {"model_channels": 32, "num_head_channels": 16}
RESAMPLER = {
    "dim": 24,
    "depth": 1,
    "dim_head": 8,
    "heads": 2,
    "num_queries": 16,
    "embedding_dim": 80,
    "output_dim": 1024,
    "ff_mult": 3,
    "video_length": 48,
}


def unet_case() -> Stored:
    """An interpolation network on 10 frames in windows of 6, of another shape."""
    entry = {"kind": "unet", "label": "other", "stage": "interpolation", **UNET, "freenoise_windows": [6, 2]}
    entry |= {"batch": 1, "num_frames": 10, "latent_height": 16, "latent_width": 8, "tolerance": 1e-4}
    context = labelled_normal("other/context", 1, 77 + 160, 1024)
    given = {
        "timesteps": torch.tensor([321]),
        "fs": torch.tensor([11]),
        "frame_idx": torch.arange(10)[None],
    }
    network = small_unet(entry, stage="interpolation")
    output = network(
        labelled_normal("other/x", 1, 8, 10, 16, 8),
        given["timesteps"],
        context=network.read(
            text=context[:, :77],
            image=context[:, 77:].reshape(1, 10, 16, 1024),
            audio=labelled_normal("other/c_audio", 1, 10, 12, 768),
        ),
        fps=given["fs"],
        temporal_window=(6, 2),
    )
    return entry, {**given, "output": output}


def resampler_case() -> Stored:
    """Fewer frames, wider feed-forward."""
    entry = {"kind": "resampler", **RESAMPLER, "video_length": 5, "tolerance": 1e-5}
    x = labelled_normal("other/tokens", 3, 7, 80)
    return entry, {"x": x, "output": small_resampler(entry)(x).flatten(1, 2)}


def vae_case() -> Stored:
    """Two pictures of another size."""
    entry = {"kind": "vae", "ch": 32, "tolerance": 1e-5}
    x, noise = labelled_normal("other/picture", 2, 3, 24, 16).tanh(), labelled_normal("other/noise", 2, 4, 3, 2)
    codec = small_vae(entry)
    mean, log_variance = codec.posterior(x)
    latent = codec.encode(x, noise=StoredNoise(torch.split(noise, 1)))
    return entry, {
        "x": x,
        "noise": noise,
        "mean": mean,
        "logvar": log_variance,
        "latent_scaled": latent,
        "decoded": codec.draw(latent),
    }


def ddim_case() -> Stored:
    """Seven steps with half the noise, another guidance, and pinned frames."""
    scales = {"text": 3.0, "image": 1.5, "audio": 5.0, "rescale": 0.3}
    entry = {"kind": "ddim", "num_inference_steps": 7, "eta": 0.5, "guidance": scales, "keyframe_replacement": True}
    x_T, noises = labelled_normal("other/x_T", 2, 4, 6, 3, 5), labelled_normal("other/noises", 7, 2, 4, 6, 3, 5)
    keyframes, indices = labelled_normal("other/keyframes", 2, 4, 2, 3, 5), (0, 4)
    schedule, sampling = noise_schedule(dynamic_rescale=True), Sampling(7, 0.5, Guidance(**scales))
    latents: list[Tensor] = []
    clean: list[Tensor] = []

    def predict(branches: Any, x: Tensor, timestep: int) -> list[Tensor]:
        latents.append(x)
        velocities = {name: analytic_velocity(name, x, timestep) for name in branches}
        time = torch.full((2,), timestep)
        scale = schedule.clean_scale[timestep]
        previous = schedule.clean_scale[max(timestep - 143, 0)] if timestep > 142 else scale
        clean.append(schedule.clean_from_velocity(x, sampling.guidance.combine(velocities), time) * previous / scale)
        return list(velocities.values())

    output = denoise(
        predict,
        x_T,
        schedule=schedule,
        sampling=sampling,
        noise=StoredNoise(noises),
        pinned=PinnedFrames(keyframes, indices),
    )
    return entry, {
        "x_T": x_T,
        "noises": noises,
        "x_keyframe": keyframes,
        "keyframe_idx": torch.tensor([indices]),
        "timesteps": torch.tensor([142, 285, 428, 570, 713, 856, 999]),
        "x_steps": torch.stack([*latents[1:], output]),
        "pred_x0_steps": torch.stack(clean),
        "output": output,
    }


def noise_case() -> Stored:
    """Half as many frames, other keyframes, another seed."""
    entry = {"kind": "initial_noise", "window": 12, "stride": 6, "python_seed": 77}
    noise, keyframes = labelled_normal("other/iid", 1, 2, 24, 2, 3), (0, 3, 4, 11, 20)
    generator = random.Random(77)
    blocks = []
    for start in (0, 6):
        frames = list(range(start, start + 6))
        generator.shuffle(frames)
        blocks.append(frames)
    sources = torch.tensor(blocks)
    return entry, {
        "noise": noise,
        "keyframe_idx": torch.tensor([keyframes]),
        "released_x_T": blend_between_keyframes(noise, keyframes),
        "freenoise_permutations": sources,
        "freenoise_shuffled": reschedule(noise, sources - torch.tensor([[0], [6]])),
    }


def stage_case() -> Stored:
    """One step of five keyframes of one wide clip, at another frame rate."""
    entry = {"kind": "stage", "stage": "keyframes", "label": "other_stage", "prompts": ["lions roaring"], "fs": 9}
    entry |= {"num_inference_steps": 1, "eta": 0.0, "guidance": {"text": 2.0, "image": 3.0, "audio": 4.0}}
    entry |= {"height": 64, "width": 192, "unet": UNET, "vae": {"ch": 32}, "resampler": RESAMPLER, "tolerance": 5e-4}
    frames = torch.tensor([[0, 2, 19, 33, 47]])
    run = prepare_stage(Case("other", "stage", {"keyframe_idx": frames}, entry))
    first_frame = run.start()
    latents = run.generate(first_frame)
    return entry, {
        "keyframe_idx": frames,
        "frame_idx_passed": frames,
        "fs_passed": torch.tensor([9]),
        "c_concat": first_frame[:, :, None].expand(-1, -1, 5, -1, -1),
        "x_steps": latents[None],
        "latents_out": latents,
        "video_out.frame0": run.codec.draw(latents[:, :, 0]),
    }


CASES = (unet_case, resampler_case, vae_case, ddim_case, noise_case, stage_case)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six cases with their listing."""
    folder = tmp_path_factory.mktemp("unseen")
    entries = []
    with torch.inference_mode():
        for number, make in enumerate(CASES):
            entry, tensors = make()
            save_file(
                {name: tensor.clone().contiguous() for name, tensor in tensors.items()},
                folder / f"u{number}.safetensors",
            )
            entries.append({"file": f"u{number}", **entry})
    (folder / "cases.json").write_text(json.dumps({"cases": entries}))
    return folder


def test_unseen_cases_are_run(folder: Path) -> None:
    """Every case runs and agrees."""
    outcome = CliRunner().invoke(app, [str(folder), "--json"])

    report = json.loads(outcome.stdout)
    assert [(case["case"], case["problem"], case["tensors"]) for case in report["cases"] if not case["passed"]] == []
    assert len(report["cases"]) == len(CASES)
    assert outcome.exit_code == 0


def test_unseen_cases_can_fail(folder: Path) -> None:
    """A value that is off by more than the tolerance is found in an unseen case too."""
    path = folder / "u0.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "output": tensors["output"] * 1.01}, path)

    outcome = CliRunner().invoke(app, [str(folder), "--json"])

    failed = [case["case"] for case in json.loads(outcome.stdout)["cases"] if not case["passed"]]
    save_file(tensors, path)
    assert (outcome.exit_code, failed) == (1, ["u0"])
