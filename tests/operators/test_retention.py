"""The task of the retention DAG."""

from pathlib import Path

import pytest

from ci_pipeline import settings
from ci_pipeline.settings import Settings
from operators.retention import RetentionOperator
from tests.retention.conftest import age, write

pytestmark = pytest.mark.usefixtures("database")


def test_what_was_removed_is_told(current: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing in the log, the sums in the XCom, and what could not be done as a warning in both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI_PIPELINE_AIRFLOW__LOGS", str(tmp_path))
        patch.setenv("CI_PIPELINE_AIRFLOW__URL", "http://127.0.0.1:9")
        settings.current.cache_clear()
        old = age(write(tmp_path / "dag_id=ci-pipeline-f26" / "run_id=old" / "x").parent, days=90)
        told = RetentionOperator(task_id="prune").execute({})
    settings.current.cache_clear()

    assert not old.exists()
    assert told["removed"] == 1
    assert told["bytes"] > 0
    assert ["does not answer" in warning for warning in told["warnings"]] == [True]
    assert f"removed log {old}" in capsys.readouterr().out
