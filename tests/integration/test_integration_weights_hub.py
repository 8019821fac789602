"""Pulling published files from a hub over HTTP, on good days and bad ones."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hub_server import LocalHub, serve

from model.checkpoints import hub as hub_module
from model.checkpoints.hub import Hub, pull
from model.checkpoints.manifest import Artifact, PublishedFile
from model.checkpoints.verification import verify
from model.errors import CheckpointError, CheckpointMismatch, CheckpointMissing
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPO = "somebody/keyvid"
# More than the hub client's pieces of 10 MiB: what is cut within the first starts anew.
BIG = np.random.default_rng(0).bytes(14_000_000)
CUT = 13_000_000
ARTIFACT = Artifact(
    name="checkpoint",
    holds="everything",
    licence="none",
    about_gb=0.014,
    files=(PublishedFile(("renamed/model.ckpt", "model.ckpt")), PublishedFile(("vocab.json",))),
    repo=REPO,
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Return a hub with one big and one small file."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with serve(LocalHub({f"{REPO}/model.ckpt": BIG, f"{REPO}/vocab.json": b"{}"})) as served:
        yield served


def fetch(hub: LocalHub, folder: Path, artifact: Artifact = ARTIFACT) -> list[Path]:
    """Pull from the local hub."""
    return pull(artifact, folder, hub=Hub(endpoint=hub.endpoint, token="none"))


def test_files_arrive_with_their_hashes(hub: LocalHub, tmp_path: Path) -> None:
    """The first name that exists is taken, and the folder can be verified later, without the hub."""
    files = fetch(hub, tmp_path)

    assert files == [tmp_path / "model.ckpt", tmp_path / "vocab.json"]
    assert files[0].read_bytes() == BIG
    recorded = json.loads((tmp_path / "checksums.json").read_text())
    assert recorded == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert verify(tmp_path) == ["model.ckpt", "vocab.json"]
    files[0].write_bytes(BIG[:-1] + b"x")
    with pytest.raises(CheckpointMismatch, match=r"model\.ckpt has changed"):
        verify(tmp_path)
    files[0].unlink()
    with pytest.raises(CheckpointMissing, match=r"model\.ckpt is gone"):
        verify(tmp_path)


def test_a_second_pull_downloads_nothing(hub: LocalHub, tmp_path: Path) -> None:
    """Files that are there are only hashed."""
    fetch(hub, tmp_path)
    hub.ranges.clear()

    fetch(hub, tmp_path)

    assert hub.ranges == []


def test_a_cut_download_goes_on_where_it_stopped(hub: LocalHub, tmp_path: Path) -> None:
    """The rest alone is asked for, and the whole is right."""
    hub.cut_after = CUT

    files = fetch(hub, tmp_path)

    begun = [ranged for ranged in hub.ranges if ranged is not None]
    assert len(begun) == 1
    assert 0 < int(begun[0].removeprefix("bytes=").rstrip("-")) <= CUT
    assert files[0].read_bytes() == BIG


def test_a_flipped_byte_is_found_and_removed(hub: LocalHub, tmp_path: Path) -> None:
    """The next pull gets the file anew."""
    hub.flipped = {f"{REPO}/model.ckpt"}

    with pytest.raises(CheckpointMismatch, match=r"model\.ckpt has hash .* and was removed: pull it again"):
        fetch(hub, tmp_path)

    assert not (tmp_path / "model.ckpt").exists()
    hub.flipped = set()
    assert fetch(hub, tmp_path)[0].read_bytes() == BIG


def test_the_manifest_is_believed_before_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    """A file with the hub's hash but not ours is refused."""
    pinned = replace(ARTIFACT, files=(PublishedFile(("model.ckpt",), sha256="0" * 64),))

    with pytest.raises(CheckpointMismatch, match=f"not {'0' * 64}"):
        fetch(hub, tmp_path, pinned)


@pytest.mark.parametrize(
    ("status", "code", "complaint"),
    [
        (403, "GatedRepo", "is gated: accept its licence on the hub, then `hf auth login`"),
        (401, "GatedRepo", "is gated"),
        (401, "RepoNotFound", "has no somebody/keyvid at this revision, or hides it: try `hf auth login`"),
        (403, "Forbidden", r"refuses somebody/keyvid \(HTTP 403\)"),
        (404, "RevisionNotFound", "at this revision"),
        (500, "Broken", r"failed on somebody/keyvid \(HTTP 500\): try again later"),
    ],
)
def test_refusals_say_what_to_do(hub: LocalHub, tmp_path: Path, status: int, code: str, complaint: str) -> None:
    """A gated, hidden or broken repository has its line each."""
    hub.refusals[REPO] = (status, code)

    with pytest.raises(CheckpointError, match=complaint) as caught:
        fetch(hub, tmp_path)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_yet_is_named(hub: LocalHub, tmp_path: Path) -> None:
    """Both names that were tried are in the message; what is not on the hub says where it is."""
    del hub.files[f"{REPO}/model.ckpt"]

    with pytest.raises(CheckpointMissing, match=r"has no renamed/model\.ckpt or model\.ckpt: it may not be published"):
        fetch(hub, tmp_path)
    elsewhere = replace(ARTIFACT, repo=None, source="https://example.org")
    with pytest.raises(
        CheckpointMissing, match=r"is not on the hub: get renamed/model\.ckpt from https://example\.org"
    ):
        fetch(hub, tmp_path, elsewhere)


def test_an_unreachable_hub_is_said_in_one_line(tmp_path: Path) -> None:
    """Nothing listens there: the message says what to check, and the other way."""
    nowhere = Hub(endpoint=f"http://127.0.0.1:{free_port()}", token="none")

    with pytest.raises(CheckpointError, match=r"cannot be reached .*; or copy the files to") as caught:
        pull(ARTIFACT, tmp_path, hub=nowhere)

    assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_in_one_line(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the download where the size is known, or when a write fails."""
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000))
        with pytest.raises(CheckpointError, match=r"model\.ckpt needs 0\.0 GB, which do not fit"):
            fetch(hub, tmp_path)

    def full(*_args: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub_module.HfApi, "hf_hub_download", full)
    with pytest.raises(CheckpointError, match=r"checkpoint needs about 0\.014 GB, which do not fit"):
        fetch(hub, tmp_path)
    assert hub.ranges == []
