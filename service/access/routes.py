"""GET /v1/usage."""

from fastapi import APIRouter, Depends

from service.access.guard import GUARD_VIDEOS, PrincipalDep
from service.access.schemas import Usage, UsageLimits
from service.dependencies import ResourcesDep
from service.openapi import problems

router = APIRouter(prefix="/v1/usage", tags=["usage"], dependencies=[Depends(GUARD_VIDEOS)])


@router.get("", operation_id="getUsage", responses=problems(503))
def get_usage(resources: ResourcesDep, principal: PrincipalDep) -> Usage:
    """Tell what the caller may use, and what is left of it."""
    usage = resources.store.usage(tenant=principal.tenant)
    return Usage(
        tenant=principal.tenant,
        running=usage.running,
        queued=usage.queued,
        compute_seconds_today=usage.compute_seconds_today,
        seconds_left_today=usage.seconds_left_today,
        limits=UsageLimits.model_validate(usage.limits, from_attributes=True),
    )
