"""What errors of a runner mean for its job."""

from __future__ import annotations

import pytest

from model.errors import AudioTooShort, EncodeFailed, NonFiniteLatents, OutOfMemory
from workers.errors import BlobNotFound, StorageUnavailable
from workers.rendering import BrokenOutput
from workers.runner_messages import Remedy
from workers.runner_process import classify


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        (OutOfMemory(), "out_of_memory", Remedy.RESTART),
        (MemoryError(), "out_of_memory", Remedy.RESTART),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", Remedy.RESTART),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out_of_memory", Remedy.RESTART),
        (RuntimeError("CUDA driver error: unknown error"), "worker_crashed", Remedy.RESTART),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "worker_crashed", Remedy.RESTART),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "worker_crashed", Remedy.RESTART),
        (NonFiniteLatents(), "nonfinite_output", Remedy.NONE),
        (EncodeFailed(), "encode_failed", Remedy.RETRY),
        (BrokenOutput("47 frames"), "encode_failed", Remedy.RETRY),
        (AudioTooShort(), "poison_input", Remedy.NONE),
        (StorageUnavailable(), "storage_failed", Remedy.RETRY),
        (BlobNotFound(), "storage_failed", Remedy.NONE),
        (RuntimeError("CUDA error: device-side assert triggered"), "worker_crashed", Remedy.RESTART),
        (ValueError("/secret/path"), "internal", Remedy.RETRY),
    ],
)
def test_error_has_a_public_code_and_a_remedy(error: Exception, code: str, remedy: Remedy) -> None:
    """Every error becomes a code that is documented, and what may help."""
    failed = classify(error)

    assert (failed.failure.code, failed.remedy) == (code, remedy)


def test_message_of_a_strange_error_is_not_shown() -> None:
    """Only messages written for callers reach them."""
    assert "/secret/path" not in classify(ValueError("/secret/path")).failure.message
