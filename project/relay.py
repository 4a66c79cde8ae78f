"""The relay alone, in a process of its own beside several web processes: `uvicorn project.relay:application`."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from fedcore.coordinator.relay.application import nothing, relay  # noqa: E402 (its models need Django to be set up)

application = relay(nothing)
