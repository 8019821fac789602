"""Errors of the queue side, grouped by what can be done about them.

The docstring of a class is its default message; only `Transient` errors are worth trying again.
"""


class WorkerError(Exception):
    """The queue could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class JobNotFound(WorkerError):
    """There is no such job."""


class FileNotKnown(WorkerError):
    """There is no such file."""


class IllegalTransition(WorkerError):
    """The job is not in a state that allows this."""


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


class BrokerUnavailable(Transient):
    """The message broker does not answer."""
