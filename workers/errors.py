"""Errors of the queue side, grouped by what can be done about them.

The docstring of a class is its default message; only `Transient` errors are worth trying again.
"""


class WorkerError(Exception):
    """The queue could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class JobNotFound(WorkerError):
    """There is no such job."""


class JobExpired(JobNotFound):
    """The job has passed its last day."""


class FileNotKnown(WorkerError):
    """There is no such file."""


class FileExpired(FileNotKnown):
    """The file has passed its last day."""


class UploadNotKnown(WorkerError):
    """There is no such upload."""


class UploadExpired(UploadNotKnown):
    """The upload was not completed in time."""


class KeyNotKnown(WorkerError):
    """There is no such API key."""


class WorkerNotKnown(WorkerError):
    """There is no such worker."""


class InputNotKnown(WorkerError):
    """There is no such input in quarantine."""


class InputQuarantined(WorkerError):
    """These inputs ended the workers that tried them: they are not tried again."""


class IdempotencyKeyReused(WorkerError):
    """This Idempotency-Key was used for another request."""


class QuotaExceeded(WorkerError):
    """The tenant may not have more now. `window_s` is 0 where the limit is of things held, not of things per time."""

    def __init__(self, code: str, message: str, *, retry_after_s: float, limit: int, window_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code  # rate_limited | concurrency_limit | quota_exceeded
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.window_s = window_s


class IllegalTransition(WorkerError):
    """It is not in a state that allows this. The message is written for callers: they are shown it."""

    def __init__(self, message: str = "It is not in a state that allows this.") -> None:
        super().__init__(message)


class LeaseLost(WorkerError):
    """The job belongs to another worker now; this one's result is discarded."""


class BlobNotFound(WorkerError):
    """There is no such object in storage."""


class Transient(WorkerError):
    """Something outside is unavailable for the moment; trying again may help."""


class StoreUnavailable(Transient):
    """The job database does not answer."""


class StorageUnavailable(Transient):
    """Object storage does not answer."""
