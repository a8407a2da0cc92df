"""What a stage is asked to do."""

from pathlib import Path
from typing import Any

import pytest

from ci_pipeline import requests, settings, store
from ci_pipeline.outcome import Status
from ci_pipeline.stages import BUILD_PACKAGE, CONFORMANCE_TESTS, FUNCTIONAL_TESTS, INTEGRATION_TESTS
from ci_pipeline.store import runs
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")


def test_reruns_are_asked_of_the_stages_of_short_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As configured; a conformance suite is not run again, and what tests nothing has nothing to run again."""
    monkeypatch.setenv("CI_PIPELINE_RERUNS__TIMES", "2")
    settings.current.cache_clear()
    run, asked = new_run(), dict[str, Any]()
    play(settings.current(), run, *[Status.SUCCESS] * 6)
    with store.session() as session:
        row = runs.locked(session, run.id)
        for stage in (BUILD_PACKAGE, FUNCTIONAL_TESTS, INTEGRATION_TESTS, CONFORMANCE_TESTS):
            request = requests.make(session, settings.current(), row, stage, workspace=tmp_path)
            asked[stage.name] = request.get("reruns")

    assert asked == {
        "build_package": None,
        "functional_tests": {"times": 2, "most": 5},
        "integration_tests": {"times": 2, "most": 5},
        "conformance_tests": None,
    }
