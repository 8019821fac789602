"""Published files from the hub: downloaded with resume, and believed only with the right hash."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpx2 import HTTPError  # huggingface_hub's client, whose errors it passes on
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from model.checkpoints.shard import CHECKSUMS, digest_file
from model.errors import CheckpointError, CheckpointMismatch, CheckpointMissing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from huggingface_hub import HfFileMetadata

    from model.checkpoints.manifest import Artifact, PublishedFile

_HUB_CACHE = ".cache"
_SHA256_DIGITS = 64
_GIT_SHA1_DIGITS = 40
_UNAUTHORIZED = (401, 403)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub to download from: None takes huggingface_hub's own settings for address and token."""

    endpoint: str | None = None
    token: str | None = None


def pull(artifact: Artifact, folder: Path, *, hub: Hub, revision: str | None = None) -> list[Path]:
    """Download the files of an artifact to `folder`, going on where an earlier download was cut.

    Returns: the files, each with the SHA-256 that the manifest names, or else the hub.
    Raises: CheckpointMissing when it is not on the hub; CheckpointMismatch when a hash is wrong (the file is removed);
        CheckpointError when the hub cannot be reached, wants a licence accepted, or the disk is full.
    """
    if artifact.repo is None:
        raise CheckpointMissing(
            f"{artifact.name} is not on the hub: get {artifact.files[0].paths[0]} from {artifact.source}"
        )
    return [_pull_file(artifact, file, folder, hub, revision or artifact.revision) for file in artifact.files]


def _pull_file(artifact: Artifact, file: PublishedFile, folder: Path, hub: Hub, revision: str) -> Path:
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    with _explained(artifact, folder):
        path, metadata = _located(artifact, file, hub, revision)
        _require_space(folder, path, metadata.size)
        # Pinned, so that hash and bytes belong together although a branch may move.
        pinned = metadata.commit_hash or revision
        downloaded = folder / path
        api.hf_hub_download(str(artifact.repo), path, revision=pinned, local_dir=folder)
        sha256 = _verified(downloaded, path, expected=file.sha256, etag=metadata.etag)
        _remember(folder, path, sha256)
    return downloaded


def _located(artifact: Artifact, file: PublishedFile, hub: Hub, revision: str) -> tuple[str, HfFileMetadata]:
    for path in file.paths:
        url = hf_hub_url(str(artifact.repo), path, revision=revision, endpoint=hub.endpoint)
        try:
            return path, get_hf_file_metadata(url, token=hub.token, endpoint=hub.endpoint)
        except RemoteEntryNotFoundError:
            continue
    names = " or ".join(file.paths)
    raise CheckpointMissing(f"{artifact.repo} has no {names}: it may not be published yet, or under another name")


def _verified(file: Path, path: str, *, expected: str | None, etag: str | None) -> str:
    """SHA-256 of a file that has the right one; a wrong file is removed, so that the next pull starts anew."""
    sha256 = digest_file(file)
    wanted = expected or etag or ""
    found = _git_sha1(file) if len(wanted) == _GIT_SHA1_DIGITS else sha256
    if len(wanted) in (_SHA256_DIGITS, _GIT_SHA1_DIGITS) and found != wanted:
        file.unlink()
        raise CheckpointMismatch(f"{path} has hash {found}, not {wanted}, and was removed: pull it again")
    return sha256


def _git_sha1(file: Path) -> str:
    """What git calls the content: the hub's hash of small files."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _remember(folder: Path, path: str, sha256: str) -> None:
    record = folder / CHECKSUMS
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    record.write_text(json.dumps({**known, path: sha256}, indent=2) + "\n", encoding="utf-8")


def _require_space(folder: Path, path: str, size_bytes: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / path
    if size_bytes is None or (there.is_file() and there.stat().st_size == size_bytes):
        return
    begun = sum(part.stat().st_size for part in (folder / _HUB_CACHE).rglob("*.incomplete"))
    if shutil.disk_usage(folder).free < size_bytes - begun:
        raise _no_space(folder, f"{path} needs {size_bytes / 1e9:.1f} GB")


@contextmanager
def _explained(artifact: Artifact, folder: Path) -> Iterator[None]:
    """Say every failure of a download in one line, with what to do about it."""
    repo = artifact.repo
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(f"{repo} is gated: accept its licence on the hub, then `hf auth login`") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise CheckpointMissing(f"the hub has no {repo} at this revision, or hides it: try `hf auth login`") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in _UNAUTHORIZED:
            raise CheckpointError(f"the hub refuses {repo} (HTTP {status}): `hf auth login`") from error
        raise CheckpointError(f"the hub failed on {repo} (HTTP {status}): try again later") from error
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"the hub cannot be reached for {repo}: check the network and HF_ENDPOINT and pull again, which goes on "
            f"where it stopped; or copy the files to {folder} from elsewhere"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(folder, f"{artifact.name} needs about {artifact.about_gb:g} GB") from error
        if "size" in str(error).lower() and error.errno is None:
            raise CheckpointMismatch(
                f"the hub sent {artifact.name} in another size than it said: pull again"
            ) from error
        raise CheckpointError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error


def _no_space(folder: Path, need: str) -> CheckpointError:
    return CheckpointError(f"{need}, which do not fit in {folder}: free space, or choose another folder")
