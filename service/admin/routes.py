"""/v1/admin: workers, dead jobs, quarantine, keys, tenants and the audit log, of the whole installation."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from service.access.guard import GUARD_ADMIN, PrincipalDep
from service.admin.presentation import (
    describe_dead,
    describe_entry,
    describe_installation,
    describe_key,
    describe_new_key,
    describe_tenant,
)
from service.admin.schemas import (
    ApiKey,
    ApiKeyFields,
    ApiKeyList,
    AuditList,
    DeadJobList,
    InputReleased,
    Installation,
    NewApiKey,
    QuarantinedInput,
    QuarantineFields,
    QuarantineList,
    RotationFields,
    Tenant,
    TenantFields,
    TenantList,
    TenantName,
    Worker,
    WorkerList,
)
from service.dependencies import ResourcesDep
from service.errors import ValidationFailed
from service.openapi import problems
from workers.census import take_census
from workers.errors import JobNotFound
from workers.roster import SHOWN_S

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(GUARD_ADMIN)])

WorkerId = Annotated[str, Path(max_length=120)]
KeyId = Annotated[str, Path(max_length=40)]


@router.get("/installation", operation_id="getInstallation", responses=problems(503))
def get_installation(resources: ResourcesDep) -> Installation:
    """Tell how the whole installation is, in numbers of this moment."""
    database = resources.store.database
    return describe_installation(
        take_census(database),
        database.schema(),
        auth=resources.settings.auth,
        listener=resources.listener.state(),
    )


@router.get("/workers", operation_id="listWorkers", responses=problems(503))
def list_workers(resources: ResourcesDep) -> WorkerList:
    """List the workers that were heard of in the last two minutes, and what each is doing."""
    workers = resources.roster.workers(within_s=SHOWN_S)
    return WorkerList(data=[Worker.model_validate(worker) for worker in workers])


@router.post("/workers/{worker_id}/drain", operation_id="drainWorker", responses=problems(404, 503))
def drain_worker(worker_id: WorkerId, resources: ResourcesDep, principal: PrincipalDep) -> WorkerList:
    """Ask a worker to finish its job and take no more; it hears within seconds, and waits until it may resume."""
    resources.roster.ask_to_drain(worker_id, is_wanted=True, actor=principal.actor)
    return list_workers(resources)


@router.post("/workers/{worker_id}/resume", operation_id="resumeWorker", responses=problems(404, 503))
def resume_worker(worker_id: WorkerId, resources: ResourcesDep, principal: PrincipalDep) -> WorkerList:
    """Let a worker take jobs again."""
    resources.roster.ask_to_drain(worker_id, is_wanted=False, actor=principal.actor)
    return list_workers(resources)


@router.get("/jobs/dead", operation_id="listDeadJobs", responses=problems(422, 503))
def list_dead_jobs(
    resources: ResourcesDep,
    after: Annotated[str | None, Query(max_length=64, description="Id of the last one of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> DeadJobList:
    """List the videos of all tenants that failed, latest first."""
    try:
        jobs = resources.store.dead(after=after, limit=limit + 1)
    except JobNotFound as error:
        raise ValidationFailed("There is no such video.", param="after") from error
    page = [describe_dead(job) for job in jobs[:limit]]
    return DeadJobList(data=page, last_id=page[-1].id if page else None, has_more=len(jobs) > limit)


@router.get("/quarantine", operation_id="listQuarantine", responses=problems(503))
def list_quarantine(resources: ResourcesDep) -> QuarantineList:
    """List the inputs that are refused."""
    return QuarantineList(data=[QuarantinedInput.model_validate(entry) for entry in resources.quarantine.entries()])


@router.post("/quarantine", operation_id="quarantineInput", status_code=201, responses=problems(422, 503))
def quarantine_input(fields: QuarantineFields, resources: ResourcesDep, principal: PrincipalDep) -> QuarantinedInput:
    """Refuse a file from now on, whoever sends it."""
    entry = resources.quarantine.add(fields.digest, reason=fields.reason, actor=principal.actor)
    return QuarantinedInput.model_validate(entry)


@router.delete("/quarantine/{digest}", operation_id="releaseInput", responses=problems(404, 503))
def release_input(
    digest: Annotated[str, Path(max_length=64)], resources: ResourcesDep, principal: PrincipalDep
) -> InputReleased:
    """Accept an input again."""
    resources.quarantine.lift(digest, actor=principal.actor)
    return InputReleased(digest=digest)


@router.get("/audit", operation_id="listAudit", responses=problems(503))
def list_audit(
    resources: ResourcesDep,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="`last_row` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> AuditList:
    """List who did what, newest first."""
    page = [describe_entry(entry) for entry in resources.audit.entries(before=before, limit=limit)]
    return AuditList(data=page, last_row=page[-1].row if page else None)


@router.get("/keys", operation_id="listKeys", responses=problems(503))
def list_keys(resources: ResourcesDep) -> ApiKeyList:
    """List every API key that was ever made, without secrets."""
    return ApiKeyList(data=[describe_key(key) for key in resources.keys.all_keys()])


@router.post("/keys", operation_id="createKey", status_code=201, responses=problems(422, 503))
def create_key(fields: ApiKeyFields, resources: ResourcesDep, principal: PrincipalDep) -> NewApiKey:
    """Make an API key; the answer tells its secret, once."""
    key, secret = resources.keys.create(
        tenant=fields.tenant,
        name=fields.name,
        scopes=fields.scopes,
        actor=principal.actor,
        expires_in_s=fields.expires_in_seconds,
        requests_per_minute=fields.requests_per_minute,
    )
    return describe_new_key(key, secret)


@router.post("/keys/{key_id}/rotate", operation_id="rotateKey", status_code=201, responses=problems(404, 409, 422, 503))
def rotate_key(key_id: KeyId, fields: RotationFields, resources: ResourcesDep, principal: PrincipalDep) -> NewApiKey:
    """Make a key that replaces another; both work during the overlap."""
    key, secret = resources.keys.rotate(key_id, overlap_s=fields.overlap_seconds, actor=principal.actor)
    return describe_new_key(key, secret)


@router.delete("/keys/{key_id}", operation_id="revokeKey", responses=problems(404, 503))
def revoke_key(key_id: KeyId, resources: ResourcesDep, principal: PrincipalDep) -> ApiKey:
    """End a key now; requests that use it are refused within two seconds."""
    return describe_key(resources.keys.revoke(key_id, actor=principal.actor))


@router.get("/tenants", operation_id="listTenants", responses=problems(503))
def list_tenants(resources: ResourcesDep) -> TenantList:
    """List the tenants with their limits in force."""
    return TenantList(data=[describe_tenant(tenant) for tenant in resources.keys.tenants()])


@router.put("/tenants/{tenant}", operation_id="limitTenant", responses=problems(422, 503))
def limit_tenant(
    tenant: Annotated[TenantName, Path()], fields: TenantFields, resources: ResourcesDep, principal: PrincipalDep
) -> Tenant:
    """Set a tenant's limits and its share; makes the tenant if there is none."""
    changes = fields.model_dump(exclude_unset=True)
    weight = changes.pop("weight", None)
    return describe_tenant(resources.keys.set_limits(tenant, changes, actor=principal.actor, weight=weight))
