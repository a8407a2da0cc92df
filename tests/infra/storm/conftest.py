"""The whole pipeline, as the tests of `tests/e2e/` have it."""

from tests.e2e.conftest import _settings_of_the_pipeline, bus, canaries, distgit, pipeline, receiver, watch

__all__ = ["_settings_of_the_pipeline", "bus", "canaries", "distgit", "pipeline", "receiver", "watch"]
