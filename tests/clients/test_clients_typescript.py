"""The TypeScript example: types from the OpenAPI document, checked strictly, and run against the service."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import av
import pytest

from tests import uploads
from tests.conftest import missing

EXAMPLE = Path(__file__).parents[2] / "clients" / "typescript"
SNAPSHOT = EXAMPLE.parent / "openapi.json"
FRAMES = 48


def npm(*arguments: str, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run npm; a failure shows what it said."""
    done = subprocess.run(
        ["npm", *arguments], cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in a folder of its own, with what its lock file pins, built from the contract."""
    if shutil.which("npm") is None:
        missing("Node.js with npm")
    folder = tmp_path_factory.mktemp("clients") / "typescript"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "build", "schema.d.ts"))
    shutil.copy(SNAPSHOT, folder.parent)
    npm("ci", "--no-audit", "--no-fund", "--prefer-offline", cwd=folder)
    npm("run", "build", cwd=folder)
    return folder


def test_example_animates(example: Path, url: str, tmp_path: Path) -> None:
    """It type-checks strictly, shows progress, and leaves a video that plays."""
    picture, sound, output = tmp_path / "dog.jpg", tmp_path / "bark.wav", tmp_path / "dog.mp4"
    picture.write_bytes(uploads.jpeg())
    sound.write_bytes(uploads.wav(2.0))

    said = npm("start", "--silent", "--", str(picture), str(sound), "a dog", str(output), cwd=example, KEYVID_URL=url)

    assert said.stdout.strip() == str(output)
    assert "100 % done" in said.stderr
    with av.open(io.BytesIO(output.read_bytes())) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_example_says_what_is_wrong(example: Path, url: str, tmp_path: Path) -> None:
    """A refusal ends it with the problem in one line."""
    sound = tmp_path / "bark.wav"
    sound.write_bytes(uploads.wav(2.0))

    said = npm("start", "--silent", "--", str(sound), str(sound), "x", cwd=example, check=False, KEYVID_URL=url)

    assert said.returncode == 1
    assert "415 unsupported_media_type" in said.stderr


def test_wrong_field_does_not_compile(example: Path) -> None:
    """The types hold a caller to the contract."""
    source = (example / "animate.ts").read_text()
    (example / "wrong.ts").write_text(source.replace("{ prompt }", '{ prompt, image_fit: "squeeze" }'))
    config = json.loads((example / "tsconfig.json").read_text())
    config["files"] = ["wrong.ts"]
    (example / "wrong.json").write_text(json.dumps(config))

    said = npm("exec", "--", "tsc", "--noEmit", "--project", "wrong.json", cwd=example, check=False)

    assert said.returncode != 0
    assert "squeeze" in said.stdout


def test_lock_file_names_no_host() -> None:
    """Packages come from whatever registry npm is set to."""
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]

    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in packages.items() if name)
