"""Logs of every process: one line per event, JSON for machines or columns for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from workers.settings import Settings

# Local variables stay out of the logs: they hold prompts and whole requests.
_traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

THIRD_PARTY = ("celery", "kombu", "alembic", "botocore", "urllib3", "amqp")


def configure_logs(settings: Settings, *, process: str) -> None:
    """Send all logs of this process to stderr, with `process` on every line.

    Bound context (job id, request id) appears on every line that is written within it.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())

    def name_process(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event.setdefault("process", process)  # not bound context: that of one thread does not reach the others
        return event

    shared: list[structlog.types.Processor] = [
        name_process,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.types.Processor] = (
        [structlog.processors.ExceptionRenderer(_traceback), structlog.processors.JSONRenderer()]
        if is_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.WARNING)
