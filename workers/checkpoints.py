"""Checkpoints of a job inside the runner: leaving them in storage, and finding the one to go on from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from workers.errors import BlobNotFound, StorageUnavailable
from workers.failpoints import Failpoint, reach
from workers.runner_messages import Checkpointed

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.jobs import JobStage, Keyframes
    from workers.patient_storage import PatientStorage
    from workers.runner_messages import Report, RunJob
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)

# The supervisor may not have noted the newest one yet: the row still names the one before.
KEPT_WITHIN_STAGES = 2


@dataclass(slots=True)
class CheckpointWriter:
    """Stores states of one attempt under its fence, and tells the supervisor of each.

    `engine_digest` says who may go on from them.
    """

    job: RunJob
    engine_digest: str
    blobs: PatientStorage
    send: Callable[[Report], None]
    _keys: list[str] = field(default_factory=list)

    def finished(self, stage: JobStage, state: bytes, keyframes: Keyframes) -> None:
        """Keep what a finished stage leaves, and wait for storage if need be. Raises: StorageUnavailable."""
        self._store(self.blobs, stage, state, keyframes, step=None)

    def within(self, stage: JobStage, step: int, state: bytes, keyframes: Keyframes) -> None:
        """Keep what a stage leaves after `step` steps.

        Nothing waits for storage: what cannot be stored costs the steps since the last one that could, if it is missed.
        """
        storage = self.blobs.storage
        try:
            self._keys.append(self._store(storage, stage, state, keyframes, step=step))
            while len(self._keys) > KEPT_WITHIN_STAGES:
                storage.delete(self._keys.pop(0))
        except StorageUnavailable:
            logger.warning("checkpoint_not_stored", stage=stage, step=step)

    def _store(
        self,
        storage: BlobStore | PatientStorage,
        stage: JobStage,
        state: bytes,
        keyframes: Keyframes,
        *,
        step: int | None,
    ) -> str:
        """Store a state and tell the supervisor; returns the key."""
        name = stage if step is None else f"{stage}-{step}"
        key = f"checkpoints/{self.job.job_id}/{self.job.fence}/{name}.safetensors"
        reach(Failpoint.CHECKPOINT_UPLOADING)
        storage.put_bytes(key, state, content_type="application/octet-stream")
        reach(Failpoint.CHECKPOINT_UPLOADED)
        sha256 = hashlib.sha256(state).hexdigest()
        self.send(Checkpointed(stage, key, sha256, keyframes, self.engine_digest, step))
        reach(Failpoint.CHECKPOINT_TOLD)
        return key


def saved_state(job: RunJob, engine_digest: str, blobs: PatientStorage) -> bytes | None:
    """Bytes of the newest checkpoint that is whole and of this engine: the one before it where one is not.

    Raises: StorageUnavailable.
    """
    for checkpoint in job.checkpoints:
        place = {"stage": checkpoint["stage"], "step": checkpoint["step"]}
        if checkpoint["engine_digest"] != engine_digest:
            logger.info("checkpoint_of_another_engine", **place)
            continue
        try:
            state = blobs.get_bytes(checkpoint["key"])
        except BlobNotFound:
            logger.warning("checkpoint_gone", **place)
            continue
        if hashlib.sha256(state).hexdigest() != checkpoint["sha256"]:
            logger.warning("checkpoint_damaged", **place)
            continue
        logger.info("job_resumed", **place)
        return state
    return None
