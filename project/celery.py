"""The coordinator's Celery app: `celery -A project worker`. No other organisation reaches its broker."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("fedcore-coordinator")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
