"""Olga and Paul compute on shares, and may use the relay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.relay.playing import Admitting, Owner, owners


@pytest.fixture
def admitting() -> Admitting:
    return Admitting()


@pytest.fixture
def pair(tmp_path: Path, admitting: Admitting) -> tuple[Owner, Owner]:
    return owners(tmp_path, admitting)
