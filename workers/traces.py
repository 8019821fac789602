"""Traces: one for each request that makes something happen, through its job's stages to its webhooks.

Where no collector is set there are none, and OpenTelemetry is not even imported. A span's place in its trace is the
W3C `traceparent`: the API's answer to a request keeps it in the job's row, and everything done for the job later hangs
below it. Attributes hold ids, counts and words of ours, never a caller's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.settings import Settings

Attribute = str | int | float | bool


class Span(Protocol):
    """Something that takes time."""

    @property
    def traceparent(self) -> str | None:
        """Its place in its trace, for spans below it; None where no traces are made."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Say more about it."""
        ...

    def rename(self, name: str) -> None:
        """Call it something else, now that more is known."""
        ...

    def end(self, *, failure: str | None = None) -> None:
        """End it, with a word for what failed if something did."""
        ...


class Tracer(Protocol):
    """Makes the spans of one process."""

    def begin(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: str = "internal",
        ago_s: float = 0.0,
        **attributes: Attribute,
    ) -> Span:
        """Begin a span now, or some seconds ago, below the one at `parent`; without one, a trace of its own.

        kind: internal, server or client.
        """
        ...

    def close(self) -> None:
        """Send what has ended, within a second."""
        ...


class NoSpan:
    """A span that nobody hears of."""

    traceparent = None

    def note(self, **attributes: Attribute) -> None:
        """Do nothing."""

    def rename(self, name: str) -> None:
        """Do nothing."""

    def end(self, *, failure: str | None = None) -> None:
        """Do nothing."""


class NoTracer:
    """Makes no spans."""

    def begin(  # noqa: D102 - as the protocol says
        self,
        name: str,  # noqa: ARG002
        *,
        parent: str | None = None,  # noqa: ARG002
        kind: str = "internal",  # noqa: ARG002
        ago_s: float = 0.0,  # noqa: ARG002
        **attributes: Attribute,  # noqa: ARG002
    ) -> Span:
        return NO_SPAN

    def close(self) -> None:
        """Do nothing."""


NO_SPAN = NoSpan()
NO_TRACER = NoTracer()


def open_tracer(settings: Settings, *, process: str) -> Tracer:
    """The tracer of this process, by the settings; `process` is the last part of its service name."""
    if settings.otlp_endpoint is None:
        return NO_TRACER
    from workers.otel import OtelTracer  # noqa: PLC0415 - an extra: only where it is asked for

    return OtelTracer(settings.otlp_endpoint, process=process)
