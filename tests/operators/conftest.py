"""What Airflow hands an operator, and an executor that leaves the report a test wants."""

import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_pipeline.conf import Conf
from ci_pipeline.executors.report import Report
from operators import callbacks
from operators.stage import StageOperator
from tests.makers import REV


class FakeExecutor:
    """Leaves a report, or fails; keeps the request."""

    def __init__(self, outcome: Report | Exception) -> None:
        self.outcome = outcome
        self.request: dict[str, Any] = {}
        self.cancelled = False
        self.look: Callable[[dict[str, Any]], None] = lambda _: None

    def run(self, request: dict[str, Any], *, workspace: Path) -> Report:
        self.request = request
        self.look(request)
        assert stat.S_IMODE(workspace.stat().st_mode) == 0o700
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The runs whose messages a callback was about to publish; the bus has tests of its own."""
    calls: list[list[int]] = []
    monkeypatch.setattr(callbacks.publishing, "publish_or_leave", lambda _, runs: calls.append(list(runs)))
    return calls


@pytest.fixture
def context() -> Callable[..., dict[str, Any]]:
    """A context as the task runner makes it, of a run that was started by hand."""

    def make(
        task: object,
        *,
        run_id: str = "manual__1",
        try_number: int = 1,
        partition_key: str | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        run_type = run_id.partition("__")[0]
        conf = {"namespace": "rpms", "repo": "greeter", "rev": REV, **params}
        return {
            "task": task,
            "dag_run": SimpleNamespace(
                dag_id="ci-pipeline-f26", run_id=run_id, conf=conf, partition_key=partition_key, run_type=run_type
            ),
            # As Airflow makes them: the form's defaults, and over them the conf, whatever is in it.
            "params": {**Conf().model_dump(), **conf},
            "ti": SimpleNamespace(try_number=try_number, max_tries=1),
        }

    return make


@pytest.fixture
def carried_out() -> Callable[[StageOperator, Report | Exception], FakeExecutor]:
    """Give an operator an executor that leaves this outcome."""

    def give(operator: StageOperator, outcome: Report | Exception) -> FakeExecutor:
        executor = FakeExecutor(outcome)
        operator.__dict__["stage_executor"] = executor
        return executor

    return give
