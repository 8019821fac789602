"""The job store: the one place where a job changes state.

Signatures agreed between `service` and `workers`; every method is one short transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workers.contract import VideoRequest
from workers.jobs import Failure, Job, JobEvent, JobStage, JobStatus, Keyframes, Lease, Output, StoredFile


class JobStore(Protocol):
    # --- the API's side
    def create(self, request: VideoRequest, *, tenant: str, metadata: Mapping[str, str]) -> Job: ...
    def get(self, job_id: str, *, tenant: str) -> Job: ...  # JobNotFound
    def list(
        self, *, tenant: str, after: str | None, limit: int, order: str, status: JobStatus | None
    ) -> Sequence[Job]: ...  # keyset on (created_at, id); `after` unknown -> JobNotFound
    def queue_position(self, job: Job) -> int | None: ...
    def request_cancel(self, job_id: str, *, tenant: str) -> Job: ...  # queued -> cancelled at once; terminal -> unchanged
    def delete(self, job_id: str, *, tenant: str) -> bool: ...  # cancels first; True once gone from view
    def events(self, job_id: str, *, after_seq: int, limit: int) -> Sequence[JobEvent]: ...
    def events_since(self, after_rowid: int, *, limit: int) -> tuple[Sequence[JobEvent], int]: ...  # all jobs: one poll feeds every stream
    def add_file(self, file: StoredFile) -> StoredFile: ...
    def get_file(self, file_id: str, *, tenant: str) -> StoredFile: ...  # FileNotKnown
    def delete_file(self, file_id: str, *, tenant: str) -> None: ...
    def ping(self) -> None: ...  # a write and a read; StoreUnavailable

    # --- the worker's side; every write is refused with LeaseLost once the fence has moved
    def claim(self, owner: str, *, lease_s: float) -> tuple[Job, Lease] | None: ...
    def renew(self, lease: Lease, *, lease_s: float) -> bool: ...  # returns whether a cancel is requested
    def report(self, lease: Lease, *, stage: JobStage, step: int, total: int, progress: int) -> None: ...
    def save_checkpoint(self, lease: Lease, *, stage: JobStage, key: str, sha256: str, keyframes: Keyframes) -> None: ...
    def checkpoint(self, job_id: str) -> Mapping[str, Any] | None: ...
    def complete(self, lease: Lease, output: Output, *, usage: Mapping[str, float], engine: Mapping[str, Any]) -> None: ...
    def fail(self, lease: Lease, failure: Failure) -> None: ...
    def cancelled(self, lease: Lease) -> None: ...
    def release(self, lease: Lease, *, refund: bool) -> None: ...  # back to queued
