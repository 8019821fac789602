"""Whose localizer hears for a model: its own, or that of a model which lends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.localization.listener import Listener
from model.pretrained import load_localizer, read_config, weights_folder

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from model.config import ModelConfig

FALLBACK_LOCALIZER = "keyvid-mini"
"""The packaged model whose localizer hears for models that have none: trained by us, on procedural sound."""


def lender_of(config: ModelConfig, localizer: str) -> str | None:
    """Name or folder of the model whose localizer is to hear; None where it is the model's own, or nobody.

    `localizer` is `own`, another model's name or folder, or `auto`: the model's own, else `FALLBACK_LOCALIZER`'s.
    """
    if localizer == "own" or (localizer == "auto" and config.localizer is not None):
        return None
    return FALLBACK_LOCALIZER if localizer == "auto" else localizer


def borrow_listener(lender: str | Path, *, device: torch.device) -> Listener:
    """Load only the localizer of a weights folder, or of a packaged model by name.

    Raises: CheckpointMissing, CheckpointMismatch.
    """
    folder = weights_folder(lender)
    config = read_config(folder)
    return Listener(load_localizer(folder, config, device=device), config)


def load_listener(path: str | Path, *, localizer: str, device: torch.device) -> Listener | None:
    """Load only the localizer that hears for the model at `path`, as `lender_of` says; None where nobody does.

    Raises: CheckpointMissing, CheckpointMismatch.
    """
    config = read_config(weights_folder(path))
    lender = lender_of(config, localizer)
    if lender is None and config.localizer is None:
        return None
    return borrow_listener(lender or path, device=device)
