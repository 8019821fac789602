"""/livez, /readyz and /health."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.dependencies import ResourcesDep
from service.readiness import Readiness, check_readiness

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """Always the same: the event loop answers."""

    status: str = "ok"


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
def get_readiness(response: Response, resources: ResourcesDep) -> Readiness:
    """Tell whether videos can be accepted, and what is wrong if not."""
    readiness = check_readiness(resources)
    response.status_code = 503 if readiness.status == "unavailable" else 200
    return readiness
