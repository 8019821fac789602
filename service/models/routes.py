"""GET /v1/models and /v1/models/{id}."""

from fastapi import APIRouter, Depends

from service.access.guard import GUARD_VIDEOS
from service.dependencies import SettingsDep
from service.errors import NotFound
from service.models.catalogue import list_models
from service.models.schemas import Model, ModelList
from service.openapi import problems

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(GUARD_VIDEOS)])


@router.get("", operation_id="listModels", responses=problems(503))
async def get_models(settings: SettingsDep) -> ModelList:
    """List the models of this server."""
    return ModelList(data=list_models(settings))


@router.get("/{model_id}", operation_id="getModel", responses=problems(404, 503))
async def get_model(model_id: str, settings: SettingsDep) -> Model:
    """Describe one model."""
    for model in list_models(settings):
        if model.id == model_id:
            return model
    raise NotFound("There is no model of this name.")
