"""The coordinator under ASGI: `uvicorn project.asgi:application`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from fedcore.coordinator.runs.warming import warm_in_background
from project.limits import Application, limit_bodies
from project.start import check_database

application = limit_bodies(cast("Application", get_asgi_application()))
from fedcore.coordinator.relay.application import relay  # noqa: E402 (its models need Django to be set up)

application = relay(application)
# In a thread of its own: uvicorn imports this module in its event loop, where Django asks no database.
with ThreadPoolExecutor(1) as pool:
    pool.submit(check_database).result()
warm_in_background()
