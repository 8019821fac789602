"""docs/threats.md names a test for each of the 25 hostile inputs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

INTEGRATION = Path(__file__).parents[1]
PAGE = Path(__file__).parents[3] / "docs" / "threats.md"


def test_every_hostile_input_has_its_test() -> None:
    """The page lists 1 to 25 in order, and every test that it names exists."""
    rows = re.findall(r"^\| (\d+) \|.*\| `([^`]+\.py)::(\w+)` \|$", PAGE.read_text(), re.MULTILINE)

    assert [int(number) for number, _, _ in rows] == list(range(1, 26))
    for _, file, name in rows:
        tree = ast.parse((INTEGRATION / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
