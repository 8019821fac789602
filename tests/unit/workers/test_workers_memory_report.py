"""`keyvid doctor --model`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from model import KeyVIDPipeline
from model.config import tiny
from workers.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny weights."""
    folder = tmp_path_factory.mktemp("planned") / "tiny"
    KeyVIDPipeline.from_config(tiny()).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("as_json", [False, True], ids=["tables", "json"])
def test_every_card_has_its_verdict(weights: Path, *, as_json: bool) -> None:
    """Whether there is a GPU or not, each kind of card and this machine have a line."""
    outcome = CliRunner().invoke(app, ["doctor", "--model", str(weights), *(["--json"] if as_json else [])])

    assert outcome.exit_code == 0, outcome.stderr
    if as_json:
        plan = json.loads(outcome.stdout)
        assert plan["cards"] == {"8 GB": "fits", "12 GB": "fits", "16 GB": "fits", "24 GB": "fits"}
        assert plan["machine"]["memory_bytes"] > 0
        assert plan["weights"]["keyframes_unet"]["dtype"] == "float16"
    else:
        assert all(f"{card} card: fits" in outcome.stdout for card in ("8 GB", "12 GB", "16 GB", "24 GB"))
        assert "this machine (" in outcome.stdout
        assert "interpolation_unet" in outcome.stdout


def test_an_unknown_model_is_one_clear_line() -> None:
    """No plan, no stack trace."""
    outcome = CliRunner().invoke(app, ["doctor", "--model", "keyvid-9000"])

    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(
        "keyvid: there are no weights in keyvid-9000: give a folder that has a model_index.json"
    )
    assert outcome.stderr.count("\n") == 1
