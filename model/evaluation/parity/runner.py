"""Find the stored cases of a folder and check each of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from model.errors import KeyVIDError
from model.evaluation.parity import (
    audio_cases,
    diffusion_cases,
    encoder_cases,
    judge_cases,
    localization_cases,
    metric_cases,
    network_cases,
    stage_cases,
)
from model.evaluation.parity.case import Case, Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from model.evaluation.parity.case import CaseCheck

LISTING = "cases.json"
_SUFFIX = ".safetensors"

CHECKS: Mapping[str, CaseCheck] = {
    "unet": network_cases.check_unet,
    "resampler": network_cases.check_resampler,
    "vae": network_cases.check_vae,
    "openclip_text": network_cases.check_text,
    "openclip_image": network_cases.check_image,
    "schedule": diffusion_cases.check_schedule,
    "training_target": diffusion_cases.check_training_target,
    "ddim": diffusion_cases.check_ddim,
    "initial_noise": diffusion_cases.check_initial_noise,
    "audio_tokens": diffusion_cases.check_audio_tokens,
    "stage": stage_cases.check_stage,
    "mel": audio_cases.check_mel,
    "mel_constants": audio_cases.check_mel_constants,
    "audio_conditioning_index": audio_cases.check_audio_index,
    "imagebind_audio": encoder_cases.check_imagebind_audio,
    "localizer": encoder_cases.check_localizer,
    "localizer_labels": localization_cases.check_labels,
    "peaks": localization_cases.check_peaks,
    "keyframe_selection": localization_cases.check_keyframes,
    "average_precision": metric_cases.check_average_precision,
    "frechet": metric_cases.check_frechet,
    "sync_metrics": metric_cases.check_sync_metrics,
    "motion_score": metric_cases.check_motion_score,
    "clip_sampling": metric_cases.check_clip_sampling,
    "eval_image_preprocess": metric_cases.check_image_preprocess,
    "stereo_frame_reshape": metric_cases.check_stereo,
    "avsync_classifier": judge_cases.check_classifier,
    "raft": judge_cases.check_optical_flow,
    "imagebind_vision_text": judge_cases.check_imagebind_vision_text,
}
"""What each kind of case runs. A folder without a listing names the kind by the file."""


class CasesMissing(KeyVIDError):
    """There are no reference cases in the given folder."""

    code = "parity_cases_missing"


class ListingBroken(KeyVIDError):
    """The list of reference cases cannot be read."""

    code = "parity_listing_broken"


@dataclass(frozen=True, slots=True)
class StoredCase:
    """One case of a folder that has not been read yet."""

    path: Path
    kind: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.path.name.removesuffix(_SUFFIX)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one case went; `problem` says why it could not be run."""

    name: str
    kind: str
    comparisons: tuple[Comparison, ...]
    duration_s: float
    problem: str | None = None

    @property
    def is_passed(self) -> bool:
        """Whether it ran and every error is allowed."""
        return self.problem is None and all(comparison.is_within for comparison in self.comparisons)

    @property
    def worst(self) -> Comparison | None:
        """The comparison that is nearest to its tolerance, or furthest beyond it."""
        return max(self.comparisons, key=_strain, default=None)


def _strain(comparison: Comparison) -> float:
    if not comparison.is_within:
        return float("inf")
    return comparison.error / comparison.tolerance if comparison.tolerance else 0.0


def find_cases(folder: Path) -> list[StoredCase]:
    """All cases in `folder` and below, each folder with a listing or with files named after their kind.

    Raises: CasesMissing when there is none; ListingBroken.
    """
    cases: list[StoredCase] = []
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        listing = place / LISTING
        files = sorted(place.glob(f"*{_SUFFIX}"))
        listed = _listed(listing) if listing.is_file() else []
        cases += [StoredCase(place / f"{entry['file']}{_SUFFIX}", str(entry["kind"]), entry) for entry in listed]
        known = {f"{entry['file']}{_SUFFIX}" for entry in listed}
        cases += [StoredCase(file, _kind(file.stem), {}) for file in files if file.name not in known]
    if not cases:
        raise CasesMissing
    return cases


def _listed(listing: Path) -> list[dict[str, Any]]:
    """Entries of a listing, each with `file` and `kind`."""
    try:
        entries = json.loads(listing.read_text("utf-8"))["cases"]
    except (ValueError, TypeError, KeyError) as error:
        raise ListingBroken(f'{listing} is not JSON of the form {{"cases": [...]}}') from error
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("file", "kind")):
            raise ListingBroken(f"{listing}: a case does not name its file and its kind")
    return list(entries)


def _kind(stem: str) -> str:
    """The kind that a file is named after: the longest one in its name, or the whole name."""
    return max((kind for kind in CHECKS if kind in stem), key=len, default=stem)


def run_cases(cases: Sequence[StoredCase]) -> Iterator[CaseResult]:
    """Check cases one after the other, on the CPU in float32."""
    for case in cases:
        yield run_case(case)


def run_case(stored: StoredCase) -> CaseResult:
    """Read and check one case; whatever goes wrong becomes its problem, so that the others still run."""
    start = time.perf_counter()
    comparisons: tuple[Comparison, ...] = ()
    problem = None
    check = CHECKS.get(stored.kind)
    if check is None:
        problem = f"nothing is known about cases of kind {stored.kind}"
    else:
        try:
            with torch.inference_mode():
                comparisons = tuple(check(read_case(stored)))
        except Exception as error:  # noqa: BLE001  (a case that cannot run is a result)
            problem = f"{type(error).__name__}: {error}"
            if isinstance(error, KeyError):
                problem = f"the case does not say {error}: it is stored, or listed in {LISTING}"
    if problem is None and not comparisons:
        problem = "the case holds nothing that could be compared"
    return CaseResult(stored.name, stored.kind, comparisons, time.perf_counter() - start, problem)


def read_case(stored: StoredCase) -> Case:
    """Read the tensors of a case."""
    with safe_open(stored.path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        metadata = dict(file.metadata() or {})
    return Case(stored.name, stored.kind, tensors, stored.settings, metadata)
