"""The keyframe localizer: an audio transformer with a small head that hears how much moves in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from model.clips import PeakRule  # noqa: TC001  (model.serialization reads the hints of fields)
from model.encoders.audio import AudioTrunk, AudioTrunkConfig

HeadKind = Literal["token_mixing", "per_step"]


@dataclass(frozen=True, slots=True)
class LocalizerConfig:
    """Size of a localizer.

    Args:
        trunk: its audio transformer; a class token is ignored by the head.
        head: `token_mixing` maps all tokens to all steps (the published network); `per_step` reads each time column
            alone (the paper's description), so that the trunk needs one column per step.
        hidden: features per step.
        num_steps: scores per clip.
        peak_rule: how peaks and valleys are found in its curve.
    Raises: ValueError when a `per_step` head gets another number of columns.
    """

    trunk: AudioTrunkConfig
    head: HeadKind = "token_mixing"
    hidden: int = 16
    num_steps: int = 48
    peak_rule: PeakRule = "paper"

    def __post_init__(self) -> None:
        columns = self.trunk.grid[1]
        if self.head == "per_step" and columns != self.num_steps:
            raise ValueError(f"a per_step head of {self.num_steps} steps cannot read {columns} columns")


class TokenMixingHead(nn.Module):
    """Mix all patches into each step, then all steps into the curve (model sets 1 and 2 of the release)."""

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        rows, columns = config.trunk.grid
        self.steps = nn.Linear(rows * columns, config.num_steps)
        self.features = nn.Linear(config.trunk.dim, config.hidden)
        self.curve = nn.Linear(config.num_steps * config.hidden, config.num_steps)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches [B, n_freq * n_time, dim] to scores [B, num_steps]."""
        mixed: Tensor = self.steps(patches.transpose(1, 2)).transpose(1, 2)
        features = self.features(functional.relu(mixed))
        scores: Tensor = self.curve(functional.relu(features.flatten(1)))
        return scores + mixed.mean(dim=-1)


class PerStepHead(nn.Module):
    """Read each time column alone (model set 3 of the release; KeyVID, Appendix A)."""

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        self.grid = config.trunk.grid
        self.features = nn.Linear(config.trunk.dim, config.hidden)
        self.mixing = nn.Linear(self.grid[0] * config.hidden, 4 * config.hidden)
        self.score = nn.Linear(4 * config.hidden, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches [B, n_freq * n_time, dim] to scores [B, n_time]."""
        columns = patches.view(patches.shape[0], *self.grid, -1).transpose(1, 2)
        features: Tensor = self.features(columns).flatten(2)
        scores: Tensor = self.score(functional.relu(self.mixing(functional.relu(features))))
        return scores.squeeze(-1) + features.mean(dim=-1)


class Localizer(nn.Module):
    """Motion curve from sound.

    Source: KeyVID sec. 3.2 and Appendix A; the published network is the `token_mixing` variant with a mean skip.
    """

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = AudioTrunk(config.trunk)
        self.head: TokenMixingHead | PerStepHead
        self.head = TokenMixingHead(config) if config.head == "token_mixing" else PerStepHead(config)

    def score(self, tokens: Tensor) -> Tensor:
        """Scores [B, num_steps] of trunk tokens [B, L, dim]."""
        patches = tokens[:, 1:] if self.config.trunk.has_class_token else tokens
        scores: Tensor = self.head(patches)
        return scores

    def forward(self, mel: Tensor) -> Tensor:
        """Hear the motion.

        Args: mel: normalised log-mel [B, 1, mel_bins, mel_frames].
        Returns: raw scores [B, num_steps], nominally in [0, 1] once trained; not clamped.
        """
        return self.score(self.trunk(mel))
