"""Blobs as files in one folder of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from workers.errors import BlobNotFound, StorageUnavailable
from workers.failpoints import Failpoint, reach
from workers.storage import CHUNK_BYTES, BlobStat, UploadLink, checked_key, local_link, local_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAFT_PREFIX = ".draft-"


class LocalBlobStore:
    """Blobs as files below `folder`; a blob appears by an atomic rename once its bytes are on disk."""

    def __init__(self, folder: Path, *, signing_key: bytes) -> None:
        self._folder = folder
        self._signing_key = signing_key

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobStat:  # noqa: ARG002 - a file has no type
        """Store a file whole."""
        with _translated(), path.open("rb") as source:
            return self._put(key, source)

    def put_bytes(self, key: str, content: bytes, *, content_type: str) -> BlobStat:  # noqa: ARG002 - a file has no type
        """Store bytes whole."""
        with _translated():
            target = self._path(key)
            with self._draft(target) as draft:
                draft.write(content)
            return _stat(key, target)

    def get_to_file(self, key: str, path: Path) -> None:
        """Copy a blob into a file. Raises: BlobNotFound."""
        with _translated():
            shutil.copyfile(self._path(key), path)

    def get_bytes(self, key: str) -> bytes:
        """Read a small blob. Raises: BlobNotFound."""
        with _translated():
            return self._path(key).read_bytes()

    def open_range(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read `length` bytes from `start` in chunks. Raises: BlobNotFound."""
        with _translated():
            file = self._path(key).open("rb")
            file.seek(start)
        return _chunks(file, length)

    def local_path(self, key: str) -> Path:
        """Where the file of a blob lies. Raises: BlobNotFound."""
        path = self._path(key)
        if not path.is_file():
            raise BlobNotFound
        return path

    def stat(self, key: str) -> BlobStat:
        """Look a blob up. Raises: BlobNotFound."""
        with _translated():
            return _stat(key, self._path(key))

    def delete(self, key: str) -> None:
        """Remove a blob, and the folders that it leaves empty."""
        path = self._path(key)
        with _translated():
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._folder:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or a new blob is being written there
                return

    def list_prefix(self, prefix: str) -> Iterator[BlobStat]:
        """List the blobs whose key begins with `prefix`."""
        root = self._folder / prefix.rpartition("/")[0]
        for file in _files(str(root)):
            key = os.path.relpath(file.path, self._folder)
            if file.name.startswith(DRAFT_PREFIX) or not key.startswith(prefix):
                continue
            try:
                yield _stat(key, file)
            except FileNotFoundError:  # deleted since the folder was read
                continue

    def signed_url(self, key: str, *, expires_s: int, filename: str) -> str:
        """Make an expiring link below the API's own address."""
        return local_link(self._signing_key, key, expires_s=expires_s, filename=filename)

    def signed_upload(self, key: str, *, expires_s: int, size: int) -> UploadLink:
        """Make an expiring link below the API's own address, for one PUT of exactly `size` bytes."""
        return local_upload(self._signing_key, key, expires_s=expires_s, size=size)

    def ping(self) -> None:
        """Prove that blobs can be written."""
        key = f"ping-{secrets.token_hex(8)}"
        self.put_bytes(key, b"ping", content_type="text/plain")
        self.delete(key)

    def sweep_drafts(self, *, before: float) -> int:
        """Remove what writers that died left unfinished before a time in unix seconds; returns how many."""
        swept = 0
        for file in _files(str(self._folder)):
            if not file.name.startswith(DRAFT_PREFIX):
                continue
            try:
                if file.stat().st_mtime < before:
                    Path(file.path).unlink()
                    swept += 1
            except FileNotFoundError:  # its writer has just finished
                continue
        return swept

    def _path(self, key: str) -> Path:
        return self._folder / checked_key(key)

    def _put(self, key: str, source: BinaryIO) -> BlobStat:
        target = self._path(key)
        with self._draft(target) as draft:
            shutil.copyfileobj(source, draft, CHUNK_BYTES)
        return _stat(key, target)

    @contextmanager
    def _draft(self, target: Path) -> Iterator[BinaryIO]:
        draft, file = self._create_draft(target)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            reach(Failpoint.BLOB_DRAFTED)
            draft.replace(target)
            reach(Failpoint.BLOB_RENAMED)
            _sync_folder(target.parent)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _create_draft(self, target: Path) -> tuple[Path, BinaryIO]:
        draft = target.with_name(f"{DRAFT_PREFIX}{os.getpid()}-{secrets.token_hex(8)}")
        while True:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                return draft, draft.open("xb")
            except FileNotFoundError:  # a delete has just removed the empty folder
                continue


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    """All files below a folder, each as it is read: folders of very many videos are never held as lists."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):  # removed since its parent was read, or never there
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry


def _stat(key: str, path: Path | os.DirEntry[str]) -> BlobStat:
    status = path.stat()
    return BlobStat(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", status.st_mtime)


def _chunks(file: BinaryIO, length: int | None) -> Iterator[bytes]:
    with file:
        left = length
        while left is None or left > 0:
            chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
            if not chunk:
                return
            yield chunk
            if left is not None:
                left -= len(chunk)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobNotFound from error
    except OSError as error:
        raise StorageUnavailable from error
