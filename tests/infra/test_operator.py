"""A stage as Airflow runs it, on builders, one of which is lost: `make test-infra`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowException

from ci_pipeline import settings, store
from ci_pipeline.outcome import Status
from ci_pipeline.store import runs
from ci_pipeline.store.builder_tables import BuilderLease
from operators import callbacks
from operators.build_package import BuildPackageOperator
from tests.builders.hosts import wait_until
from tests.builders.lasting import is_building

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.builders.hosts import Lab
    from tests.playbooks.stage_runs import DistGit


@pytest.fixture
def pipeline(
    configured: object, controller: Path, dist_git: DistGit, published: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline whose dist-git is the test's."""
    dist_git.path.with_name("hello.git").symlink_to(dist_git.path)
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", dist_git.root.as_uri())
    monkeypatch.setenv("CI_PIPELINE_ARTIFACTS__FOLDER", str(controller / "artifacts"))
    settings.current.cache_clear()


def test_a_lost_builder_is_a_try_that_failed_and_the_next_one_passes(
    hosts: Lab, pipeline: None, source: dict[str, Any], context: Callable[..., dict[str, Any]]
) -> None:
    """With the fault, the builder's name and the results where they belong; nothing is held at the end."""
    first = hosts.add("b1")
    hosts.add("b2")
    tries = [BuildPackageOperator(), BuildPackageOperator()]
    of_run = [context(one, repo="hello", rev=source["rev"], try_number=number) for number, one in enumerate(tries, 1)]
    callbacks.announce_start(of_run[0])
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(tries[0].execute, of_run[0])
        wait_until(lambda: is_building(first) or lost.done())
        first.stop()
        with pytest.raises(AirflowException, match="builder b1 was lost during the stage"):
            lost.result()
    tries[1].execute(of_run[1])
    with store.session() as session:
        run = runs.get(session, "manual__1")
        results = [(one.try_number, one.status, one.fault) for one in run.results]
        leases = [(one.builder, one.released_at is None) for one in session.query(BuilderLease).order_by("id")]
        files = [(one.kind, one.path) for one in run.results[-1].artifacts]

    assert results == [(1, Status.FAILURE, "infrastructure"), (2, Status.SUCCESS, "")]
    assert leases == [("b1", False), ("b2", False)]
    assert {kind for kind, _ in files} == {"srpm", "rpm", "log"}
    assert not [path for _, path in files if "/lab/" in path]
