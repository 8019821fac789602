"""Spans by OpenTelemetry, sent to a collector over OTLP/HTTP; imported only where the settings name one.

The SDK's own variables count too: OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and others.
"""

from __future__ import annotations

import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry import trace

    from workers.traces import Attribute

SEND_PERIOD_MS = 1000
SEND_TIMEOUT_S = 5.0
CLOSE_S = 1.0  # a process that ends does not wait longer for a collector
_NS = 1_000_000_000
_W3C = TraceContextTextMapPropagator()


class OtelSpan:
    """One span."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """Its place in its trace."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, context=set_span_in_context(self._span, Context()))
        return carrier.get("traceparent")

    def note(self, **attributes: Attribute) -> None:
        """Set attributes, all under `keyvid.`."""
        self._span.set_attributes(_named(attributes))

    def rename(self, name: str) -> None:
        """Call it something else."""
        self._span.update_name(name)

    def end(self, *, failure: str | None = None) -> None:
        """End it."""
        if failure is not None:
            self._span.set_status(Status(StatusCode.ERROR, failure))
        self._span.end()


class OtelTracer:
    """Makes spans, and sends them from a thread of its own: a collector that is away costs nobody anything."""

    def __init__(self, endpoint: str, *, process: str) -> None:
        resource = Resource.create({"service.name": f"keyvid-{process}", "service.version": version("keyvid")})
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_TIMEOUT_S)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_PERIOD_MS))
        self._tracer = self._provider.get_tracer("keyvid")

    def begin(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: str = "internal",
        ago_s: float = 0.0,
        **attributes: Attribute,
    ) -> OtelSpan:
        """Begin a span; a `parent` that is no traceparent is as good as none."""
        context = _W3C.extract({"traceparent": parent}, context=Context()) if parent else Context()
        return OtelSpan(
            self._tracer.start_span(
                name,
                context=context,
                kind=SpanKind[kind.upper()],
                start_time=time.time_ns() - round(ago_s * _NS),
                attributes=_named(attributes),
            )
        )

    def close(self) -> None:
        """Send what has ended."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(CLOSE_S)


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"keyvid.{name}": value for name, value in attributes.items()}
