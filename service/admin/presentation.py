"""Records of the queue side as operators see them."""

from __future__ import annotations

import time
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.admin.schemas import ApiKey, AuditEntry, DeadJob, Installation, NewApiKey, Tenant

if TYPE_CHECKING:
    from service.localizations.listener import ListenerState
    from workers import access
    from workers.census import Census
    from workers.jobs import Job
    from workers.schema import Schema


def describe_installation(census: Census, schema: Schema, *, auth: str, listener: ListenerState) -> Installation:
    """The whole installation in numbers."""
    return Installation(
        version=version("keyvid"),
        auth=auth,
        database_revision=schema.found,
        known_revision=schema.known[0],
        migrations="behind" if schema.is_behind else "ahead" if schema.is_ahead else "current",
        clock_offset_s=round(time.time() - census.at, 3),
        jobs={status.value: count for status, count in census.jobs.items()},
        oldest_waiting_s=round(census.oldest_waiting_s, 3),
        leases_overdue=census.leases_overdue,
        workers={state.value: count for state, count in census.workers.items()},
        reconciler_left_s=round(census.reconciler_until - census.at, 3),
        listener=listener,
        deliveries_pending=census.deliveries_pending,
        deliveries_overdue_s=round(census.deliveries_overdue_s, 3),
        endpoints_disabled=census.endpoints_disabled,
        keys_active=census.keys_active,
        keys_expiring=census.keys_expiring,
    )


def describe_key(key: access.ApiKey) -> ApiKey:
    """A key without its secret."""
    return ApiKey.model_validate({**asdict(key), "scopes": sorted(key.scopes)})


def describe_new_key(key: access.ApiKey, secret: str) -> NewApiKey:
    """A key with its secret, once."""
    return NewApiKey.model_validate({**asdict(key), "scopes": sorted(key.scopes), "secret": secret})


def describe_tenant(tenant: access.Tenant) -> Tenant:
    """A tenant and its limits."""
    return Tenant(id=tenant.id, weight=tenant.weight, created_at=tenant.created_at, **asdict(tenant.limits))


def describe_entry(entry: access.AuditEntry) -> AuditEntry:
    """An entry of the audit log."""
    return AuditEntry(
        row=entry.row,
        at=entry.at,
        tenant=entry.actor.tenant,
        actor=entry.actor.name,
        action=entry.action,
        target=entry.target,
        detail=dict(entry.detail),
        request_id=entry.actor.request_id,
    )


def describe_dead(job: Job) -> DeadJob:
    """A job that failed."""
    return DeadJob(
        id=job.id,
        tenant=job.tenant,
        model=job.request.model,
        created_at=job.created_at,
        failed_at=job.completed_at,
        code=job.failure.code if job.failure else "internal",
        message=job.failure.message if job.failure else "",
        attempt=job.attempt,
        image_sha256=job.request.image.sha256,
        audio_sha256=job.request.audio.sha256,
        seed=job.request.seed,
    )
