"""What is counted of an attempt."""

from __future__ import annotations

from prometheus_client import REGISTRY

from workers.attempt_meter import AttemptMeter, Outcome
from workers.jobs import JobStage
from workers.runner_messages import Step

STAGES = ("localization", "keyframes", "interpolation", "mux")


def _counted(name: str, label: str, values: tuple[str, ...]) -> list[float]:
    return [REGISTRY.get_sample_value(name, {label: value}) or 0.0 for value in values]


def test_steps_and_stages_are_counted_once() -> None:
    """Reports leave steps out, and the last one of a stage is told by the next stage's first."""
    steps = _counted("keyvid_steps_total", "stage", STAGES)
    stages = _counted("keyvid_stage_seconds_count", "stage", STAGES)
    meter = AttemptMeter()

    for stage, step, total in (
        (JobStage.LOCALIZATION, 0, 1),
        (JobStage.KEYFRAMES, 0, 10),
        (JobStage.KEYFRAMES, 4, 10),
        (JobStage.INTERPOLATION, 0, 20),
        (JobStage.INTERPOLATION, 19, 20),
        (JobStage.MUX, 0, 48),
    ):
        meter.step(Step(stage, step, total, progress=0))
    meter.end(Outcome.COMPLETED)

    grown = zip(_counted("keyvid_steps_total", "stage", STAGES), steps, strict=True)
    assert [after - before for after, before in grown] == [1, 10, 20, 48]
    timed = zip(_counted("keyvid_stage_seconds_count", "stage", STAGES), stages, strict=True)
    assert [after - before for after, before in timed] == [1, 1, 1, 1]


def test_stage_that_broke_off_is_not_timed() -> None:
    """Steps that were done count, its time does not: it says nothing about how long the stage takes."""
    before = _counted("keyvid_stage_seconds_count", "stage", STAGES)
    steps = _counted("keyvid_steps_total", "stage", STAGES)
    retried = _counted("keyvid_attempt_seconds_count", "outcome", ("retried",))
    meter = AttemptMeter()

    meter.step(Step(JobStage.KEYFRAMES, 0, 10, progress=0))
    meter.step(Step(JobStage.KEYFRAMES, 3, 10, progress=0))
    meter.end(Outcome.RETRIED)

    assert _counted("keyvid_stage_seconds_count", "stage", STAGES) == before
    assert _counted("keyvid_steps_total", "stage", STAGES)[1] == steps[1] + 3
    assert _counted("keyvid_attempt_seconds_count", "outcome", ("retried",)) == [retried[0] + 1]


def test_memory_of_the_device_is_the_last_that_was_told() -> None:
    """Reports without a measurement change nothing."""
    meter = AttemptMeter()

    meter.step(Step(JobStage.KEYFRAMES, 0, 10, progress=0, device_memory={"reserved": 7, "total": 9}))
    meter.step(Step(JobStage.KEYFRAMES, 1, 10, progress=0))

    assert _counted("keyvid_gpu_memory_bytes", "kind", ("reserved", "total")) == [7, 9]
