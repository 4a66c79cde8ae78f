"""The world of the matrix, made once for a file and rolled back after it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from tests.coordinator.permissions.matrix import Matrix
from tests.coordinator.permissions.world import make_world


@pytest.fixture(autouse=True)
def _quick_and_apart() -> None:
    """What the other tests of the coordinator set for each test is set here for the whole file, by `matrix`."""


@pytest.fixture(scope="module")
def matrix(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    settings = override_settings(
        FEDCORE_DATA_DIR=tmp_path_factory.mktemp("coordinator"),
        FEDCORE_OPERATOR_ORGANISATION="cloud-house",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )
    loggers = [
        quiet(name) for name in ("django.request", "django.security.DisallowedModelAdminLookup", "axes")
    ]
    with ExitStack() as silent, settings, django_db_blocker.unblock(), transaction.atomic():
        for each in loggers:
            silent.enter_context(each)
        yield Matrix(make_world())
        transaction.set_rollback(True)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Thousands of refused requests are no news; failures are noted by the matrix itself."""
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False
