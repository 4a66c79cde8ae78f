"""Wiring only: settings, URLs, ASGI, WSGI, and the coordinator's Celery app."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
