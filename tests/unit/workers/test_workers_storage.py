"""Links to local blobs, and what local storage leaves behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from workers.errors import StorageUnavailable
from workers.storage import is_local_link_valid, is_local_upload_valid
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from pathlib import Path

SIGNING_KEY = b"secret"
KEY = "outputs/video_a/1/video.mp4"


def _store(folder: Path) -> LocalBlobStore:
    return LocalBlobStore(folder, signing_key=SIGNING_KEY)


def _link(folder: Path, *, expires_s: int = 60) -> tuple[str, dict[str, str]]:
    url = urlsplit(_store(folder).signed_url(KEY, expires_s=expires_s, filename='a "b".mp4'))
    return url.path, {name: values[0] for name, values in parse_qs(url.query).items()}


def _is_valid(query: dict[str, str], *, key: str = KEY, signing_key: bytes = SIGNING_KEY) -> bool:
    return is_local_link_valid(
        signing_key,
        key,
        expires=int(query["expires"]),
        filename=query["filename"],
        signature=query["signature"],
    )


def test_link_is_valid_for_its_blob(tmp_path: Path) -> None:
    """The link names the blob, the file name and the time, and passes its own check."""
    path, query = _link(tmp_path)

    assert path == f"/v1/blobs/{KEY}"
    assert query["filename"] == 'a "b".mp4'
    assert _is_valid(query)


@pytest.mark.parametrize(
    "change", [{"expires": "99999999999"}, {"filename": "other.html"}, {"signature": "0" * 64}, {"signature": "\u00e4"}]
)
def test_changed_link_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    """Nothing in a link can be changed."""
    _, query = _link(tmp_path)

    assert not _is_valid({**query, **change})


def test_link_is_for_one_blob_and_one_installation(tmp_path: Path) -> None:
    """Another key of a blob or of an installation makes it worthless."""
    _, query = _link(tmp_path)

    assert not _is_valid(query, key="outputs/video_b/1/video.mp4")
    assert not _is_valid(query, signing_key=b"other")


def test_link_expires(tmp_path: Path) -> None:
    """After its time a genuine link is refused."""
    _, query = _link(tmp_path, expires_s=-1)

    assert not _is_valid(query)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A source that cannot be read is no blob, not even half of one."""
    store = _store(tmp_path / "blobs")
    (tmp_path / "folder").mkdir()

    with pytest.raises(StorageUnavailable):
        store.put_file(KEY, tmp_path / "folder", content_type="video/mp4")

    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_deleting_removes_empty_folders(tmp_path: Path) -> None:
    """A thousand deleted jobs leave no thousand folders."""
    store = _store(tmp_path)
    store.put_bytes(KEY, b"x", content_type="video/mp4")

    store.delete(KEY)

    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_swept_when_old(tmp_path: Path) -> None:
    """What a killed writer left is not listed, and goes after a while; younger drafts stay."""
    store = _store(tmp_path)
    store.put_bytes("inputs/a", b"x", content_type="image/png")
    draft = tmp_path / "inputs" / ".draft-1-abc"
    draft.write_bytes(b"half")

    kept = store.sweep_drafts(before=time.time() - 60)
    swept = store.sweep_drafts(before=time.time() + 60)

    assert (kept, swept) == (0, 1)
    assert [blob.key for blob in store.list_prefix("inputs/")] == ["inputs/a"]
    assert not draft.exists()


def test_upload_link_is_for_one_key_and_size_and_no_download(tmp_path: Path) -> None:
    """A link that takes bytes takes so many under its key, and opens nothing; a link that gives bytes takes none."""
    link = _store(tmp_path).signed_upload(KEY, expires_s=60, size=5)
    query = dict(parse_qsl(urlsplit(link.url).query))
    expires, signature = int(query["expires"]), query["signature"]

    def takes(key: str = KEY, *, size: int = 5, expires: int = expires, signature: str = signature) -> bool:
        return is_local_upload_valid(SIGNING_KEY, key, expires=expires, size=size, signature=signature)

    assert takes()
    assert not takes("outputs/video_b/1/video.mp4")
    assert not takes(size=6)
    assert not takes(expires=expires + 1)
    assert not is_local_link_valid(SIGNING_KEY, KEY, expires=expires, filename="5", signature=signature)
    _, download = _link(tmp_path)
    assert not takes(expires=int(download["expires"]), signature=download["signature"])
