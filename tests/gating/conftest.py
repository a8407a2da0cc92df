"""Policies of the tests' own."""

import json

import pytest

from ci_pipeline import settings, stack
from ci_pipeline.settings import Settings
from tests.gating.makers import POLICIES


@pytest.fixture
def gated(servers: stack.UpResult, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings with two policies for fedora-26."""
    monkeypatch.setenv("CI_PIPELINE_POLICIES", json.dumps(POLICIES))
    settings.current.cache_clear()
    return settings.current()
