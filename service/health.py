"""/livez, /readyz, /health and /metrics."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from service.access.guard import PrincipalDep
from service.dependencies import ResourcesDep
from service.errors import InsufficientScope
from service.readiness import Readiness, check_readiness
from workers.access import Scope
from workers.metrics import render_metrics

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """Always the same: the event loop answers."""

    status: str = Field("ok", description="Always `ok`.")


@router.get("/livez", operation_id="getLiveness")
async def get_liveness() -> Liveness:
    """Tell that the process runs; depends on nothing."""
    return Liveness()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    responses={503: {"description": "Requests cannot be accepted now.", "model": Readiness}},
)
@router.get("/health", include_in_schema=False)
async def get_readiness(response: Response, resources: ResourcesDep) -> Readiness:
    """Tell whether videos can be accepted, and what is wrong if not."""
    readiness = await resources.readiness.found(lambda: check_readiness(resources))
    response.status_code = 503 if readiness.status == "unavailable" else 200
    return readiness


@router.get("/metrics", include_in_schema=False)
def get_metrics(
    resources: ResourcesDep, principal: PrincipalDep, accept: Annotated[str | None, Header(max_length=1000)] = None
) -> Response:
    """Tell Prometheus what this machine counts, and how the installation is."""
    if principal.scopes.isdisjoint((Scope.METRICS, Scope.ADMIN)):
        raise InsufficientScope(f"This needs a key with the scope {Scope.METRICS.value}.")
    content, media_type = render_metrics(accept, resources.installation)
    return Response(content, headers={"Content-Type": media_type})
