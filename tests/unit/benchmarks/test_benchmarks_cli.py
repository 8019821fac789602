"""The command that measures."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("part", ["service", "sync"])
def test_parts_of_the_repository_are_found_from_anywhere(tmp_path: Path, part: str) -> None:
    """An installed `keyvid` has only packages on its path, whatever folder it is called in."""
    code = f"from benchmarks.cli import _of_the_repository; print(_of_the_repository({part!r}).__module__)"

    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert answer.stdout.strip() == f"benchmarks.{part}", answer.stderr


def test_an_unknown_part_is_named() -> None:
    """A misspelt part ends with what there is, before anything is measured."""
    answer = CliRunner().invoke(app, ["speed"])

    assert answer.exit_code == 2
    assert "No part 'speed'" in answer.output
    assert "steps, clip, start, service, sync" in answer.output
