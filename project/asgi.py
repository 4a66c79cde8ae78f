"""The coordinator under ASGI: `uvicorn project.asgi:application`."""

from __future__ import annotations

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from fedcore.coordinator.runs.warming import warm_in_background
from project.limits import Application, limit_bodies

application = limit_bodies(cast("Application", get_asgi_application()))
warm_in_background()
