"""Logs of every process: one line per event, JSON for machines or columns for a terminal.

Whatever callers wrote can stand in a line but never end it: JSON escapes control characters, and so do we for a
terminal. A traceback is the only thing of several lines there; each of them begins with a bar.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from workers.jobs import Origin
    from workers.settings import Settings

# Local variables stay out of the logs: they hold prompts and whole requests.
_traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

# Line ends, terminal escapes, and marks that turn the direction of text round.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BAR = "  | "

THIRD_PARTY = ("celery", "kombu", "alembic", "botocore", "urllib3", "amqp")


def configure_logs(settings: Settings, *, process: str) -> None:
    """Send all logs of this process to stderr, with `process` on every line.

    Bound context (request id, job id) appears on every line that is written within it.
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
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_barred_traceback)
    renderer: list[structlog.types.Processor] = (
        [structlog.processors.ExceptionRenderer(_traceback), structlog.processors.JSONRenderer()]
        if is_json
        else [_escape_controls, console]
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


def named(origin: Origin, **names: object) -> AbstractContextManager[object]:
    """Put names on every line that is written within, and before them the request that asked for the job, if any."""
    known = {"request_id": origin.request_id, "trace_id": origin.trace_id, **names}
    return structlog.contextvars.bound_contextvars(
        **{name: value for name, value in known.items() if value is not None}
    )


def _escape_controls(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Write control characters out, a line end as backslash and n, wherever they would be shown."""
    for name, value in event.items():
        if name not in ("exc_info", "_record"):
            shown = value if isinstance(value, str) else repr(value)
            if _CONTROL.search(shown):
                event[name] = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], shown)
    return event


def _barred_traceback(sio: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """A traceback no line of which can be taken for a line of the log."""
    text = "".join(traceback.format_exception(*exc_info))
    lines = (_CONTROL.sub(lambda found: ascii(found[0])[1:-1], line) for line in text.split("\n"))
    sio.write("\n" + "\n".join(BAR + line for line in lines if line))
