"""What every blob storage must do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from workers.errors import BlobNotFound, StorageUnavailable
from workers.settings import Settings
from workers.storage import CHUNK_BYTES, open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from workers.storage import BlobStore

KEY = "outputs/video_a/1/video.mp4"
CONTENT = bytes(range(256)) * (CHUNK_BYTES // 128)  # two chunks


def _put(storage: BlobStore, key: str = KEY, content: bytes = CONTENT) -> None:
    storage.put_bytes(key, content, content_type="video/mp4")


def test_blob_reads_back(storage: BlobStore, tmp_path: Path) -> None:
    """Bytes and files come back as they were put."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(CONTENT)

    stored = storage.put_file(KEY, source, content_type="video/mp4")
    storage.get_to_file(KEY, target)

    assert target.read_bytes() == storage.get_bytes(KEY) == b"".join(storage.open_range(KEY)) == CONTENT
    assert stored == storage.stat(KEY)
    assert (stored.key, stored.size) == (KEY, len(CONTENT))
    assert abs(stored.modified_at - time.time()) < 60


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (0, None), (5, 10), (CHUNK_BYTES - 1, 2), (len(CONTENT) - 3, None), (7, 0)]
)
def test_range_is_what_was_asked_for(storage: BlobStore, start: int, length: int | None) -> None:
    """Any range comes whole, also over the edge of a chunk."""
    _put(storage)

    got = b"".join(storage.open_range(KEY, start=start, length=length))

    assert got == CONTENT[start : None if length is None else start + length]


def test_new_blob_replaces_the_old_one(storage: BlobStore) -> None:
    """The last writer of a key wins, and the validator changes with the content."""
    _put(storage, content=b"old")
    before = storage.stat(KEY)
    _put(storage, content=b"newer")

    assert storage.get_bytes(KEY) == b"newer"
    assert storage.stat(KEY).etag != before.etag


def test_missing_blob_is_not_found(storage: BlobStore, tmp_path: Path) -> None:
    """Every way to read says so at once, and deleting is harmless."""
    for read in (storage.get_bytes, storage.stat, storage.open_range, lambda key: storage.get_to_file(key, tmp_path)):
        with pytest.raises(BlobNotFound):
            read("inputs/none")
    storage.delete("inputs/none")


def test_deleted_blob_is_gone(storage: BlobStore) -> None:
    """Deleting removes one blob and leaves its neighbours."""
    _put(storage)
    _put(storage, "outputs/video_a/2/video.mp4", b"kept")

    storage.delete(KEY)

    with pytest.raises(BlobNotFound):
        storage.stat(KEY)
    assert [blob.key for blob in storage.list_prefix("outputs/video_a/")] == ["outputs/video_a/2/video.mp4"]


def test_listing_follows_the_prefix(storage: BlobStore) -> None:
    """Only keys that begin with the prefix are listed, with their sizes."""
    for key in ("inputs/a", "inputs/ab", "inputs/b", "outputs/a/1/x"):
        _put(storage, key, key.encode())

    assert {(blob.key, blob.size) for blob in storage.list_prefix("inputs/a")} == {("inputs/a", 8), ("inputs/ab", 9)}
    assert list(storage.list_prefix("nothing/")) == []


def test_what_is_listed_may_be_removed_meanwhile(storage: BlobStore) -> None:
    """A sweep removes blobs as they are listed: none is passed over, and none is told twice."""
    keys = {f"outputs/video{number % 10}/{number % 3}/file{number}" for number in range(60)}
    for key in keys:
        _put(storage, key, b"x")
    told = []

    for blob in storage.list_prefix("outputs/"):
        told.append(blob.key)
        storage.delete(blob.key)

    assert sorted(told) == sorted(keys)
    assert list(storage.list_prefix("outputs/")) == []


@pytest.mark.parametrize(
    "key", ["../secret", "/etc/passwd", "a//b", "", "a/../b", ".hidden", "a\0b", "a" * 201, "\u00e4"]
)
def test_key_that_we_would_not_make_is_refused(storage: BlobStore, key: str) -> None:
    """Nothing outside the storage can be named."""
    with pytest.raises(ValueError, match="blob key"):
        _put(storage, key)


def test_ping_leaves_the_storage_usable(storage: BlobStore) -> None:
    """The check of the health page can be repeated."""
    storage.ping()
    storage.ping()


def test_unreachable_s3_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's error is translated."""
    monkeypatch.setattr("workers.storage_s3.TIMEOUTS.retries", {"max_attempts": 1, "mode": "standard"})
    storage = open_storage(
        Settings(
            data_dir=tmp_path,
            storage="s3",
            s3_bucket="keyvid",
            s3_endpoint_url="http://127.0.0.1:9",
            s3_access_key_id="id",
            s3_secret_access_key="secret",
        )
    )

    with pytest.raises(StorageUnavailable):
        storage.ping()
