"""The coordinator under WSGI. Long polls hold a thread each here: prefer ASGI."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from project.start import check_database

application = get_wsgi_application()
check_database()
