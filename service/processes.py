"""One API process of those that share a port; `keyvid api` starts them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from service.app import create_app
from service.settings import ServiceSettings
from workers.logs import configure_logs
from workers.memory import settle_memory
from workers.metrics import forget_gauges
from workers.parent import end_with_parent

if TYPE_CHECKING:
    from fastapi import FastAPI


def application() -> FastAPI:
    """The application; a process that is one of several configures its own logs, and does not outlive the first."""
    settings = ServiceSettings()
    if settings.api_processes > 1:
        configure_logs(settings, process="api")
        end_with_parent(os.environ)
        forget_gauges()  # of the one that this one may replace
    app = create_app(settings)
    settle_memory()
    return app
