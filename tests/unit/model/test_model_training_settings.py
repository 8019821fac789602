"""Recipes on the command line: what can be set, listed, and asked for wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from model.training.cli import app
from model.training.overrides import UnknownSetting, changed, settings_of
from model.training.published_recipes import PUBLISHED_RECIPES, keyframes
from model.training.recipes import mini_draft

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_are_typed_and_named() -> None:
    """Paths, and last words where there is one of them; numbers, truth values, choices and pairs."""
    recipe = changed(
        keyframes(),
        [
            "steps=7",
            "optimisation.learning_rate=2e-5",
            "trained=all",
            "betas=0.8,0.9",
            "activation_checkpointing=no",
            "repeat=2",
        ],
    )

    assert (recipe.steps, recipe.optimisation.learning_rate, recipe.options.trained) == (7, 2e-5, "all")
    assert (recipe.optimisation.betas, recipe.activation_checkpointing, recipe.clips.repeat) == ((0.8, 0.9), False, 2)
    assert changed(mini_draft(), ["clips.num_clips=512"]).clips.num_clips == 512


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("stepps=7", r"sets nothing of keyframes; there are steps, batch_size"),
        ("steps", r"sets nothing"),
        ("steps=many", r"steps is int, not 'many'"),
        ("precision=fp8", r"precision is one of fp32, bf16"),
        ("betas=0.9", r"betas is 2 values"),
        ("activation_checkpointing=perhaps", r"is bool"),
    ],
)
def test_wrong_settings_say_what_there_is(setting: str, told: str) -> None:
    """An unknown key lists the keys; a wrong value names its type."""
    with pytest.raises(UnknownSetting, match=told):
        changed(keyframes(), [setting])


def test_every_recipe_can_be_listed() -> None:
    """Names, first lines and all settings."""
    listed = CliRunner().invoke(app, ["--list"]).stdout

    for name, build in PUBLISHED_RECIPES.items():
        assert f"{name}: " in listed
        assert all(path in listed for path in settings_of(build()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "no recipe 'nothing'"),
        (["keyframes"], "needs --data FOLDER and --start WEIGHTS"),
        (["mini-localizer", "--export", "model"], "train mini-draft, mini-diffusion in"),
        (["mini-draft", "--data", "folder"], "--data and --start are for localizer"),
    ],
)
def test_wrong_commands_are_usage_errors(tmp_path: Path, arguments: list[str], told: str) -> None:
    """Nothing is trained, and the message says what is asked for."""
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert told in result.output
    assert not (tmp_path / "run").exists()
