"""What an attempt at a job took, as its supervisor hears of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from workers import metrics
from workers.traces import NO_SPAN, NO_TRACER, Span, Tracer

if TYPE_CHECKING:
    from workers.runner_messages import Step


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"  # the job is queued again
    LOST = "lost"  # it was another worker's by then


@dataclass(slots=True)
class AttemptMeter:
    """Counts the steps of one attempt, and times its stages, as metrics and as spans below the attempt's own.

    span: the attempt's, begun by the supervisor and ended here.
    """

    tracer: Tracer = NO_TRACER
    span: Span = NO_SPAN
    _began_at: float = field(default_factory=time.monotonic)
    _stage_began_at: float = 0.0
    _stage_span: Span = NO_SPAN
    _last: Step | None = None

    def step(self, step: Step) -> None:
        """Count the steps up to this report; the first one of a stage ends the stage before."""
        last = self._last
        if last is None or last.stage is not step.stage:
            self._end_stage()
            self._stage_began_at = time.monotonic()
            self._stage_span = self.tracer.begin(step.stage, parent=self.span.traceparent, steps_before=step.step)
            metrics.STEPS.labels(step.stage).inc(step.step)
        else:
            metrics.STEPS.labels(step.stage).inc(max(0, step.step - last.step))
        self._last = step
        for kind, amount in (step.device_memory or {}).items():
            metrics.DEVICE_MEMORY.labels(kind).set(amount)

    def end(self, outcome: Outcome) -> None:
        """Time the attempt; where it completed the job, its last stage too."""
        if outcome is Outcome.COMPLETED:
            self._end_stage()
        else:
            self._stage_span.end(failure=outcome.value)
        metrics.ATTEMPT_SECONDS.labels(outcome).observe(time.monotonic() - self._began_at)
        self.span.note(outcome=outcome.value)
        self.span.end(failure=None if outcome is Outcome.COMPLETED else outcome.value)

    def _end_stage(self) -> None:
        """A stage that another one follows is done to its last step, even where nobody was told of that one."""
        last = self._last
        if last is not None:
            metrics.STEPS.labels(last.stage).inc(max(0, last.total - last.step))
            metrics.STAGE_SECONDS.labels(last.stage).observe(time.monotonic() - self._stage_began_at)
            self._stage_span.note(steps=last.total)
            self._stage_span.end()
