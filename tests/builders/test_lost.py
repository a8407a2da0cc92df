"""A builder that is lost while it works: the fault of the infrastructure, and the next try goes elsewhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from ci_pipeline import store
from ci_pipeline.errors import BuilderError, BuilderUnreachable, StageEnded
from ci_pipeline.store import builder_leases
from ci_pipeline.store.builder_tables import BuilderLease
from tests.builders.hosts import wait_until
from tests.builders.lasting import ENDLESS, during, is_idle
from tests.playbooks.test_build_package import SCRIPT, spec

if TYPE_CHECKING:
    from tests.builders.hosts import Lab
    from tests.playbooks.stage_runs import DistGit


@pytest.fixture
def endless(dist_git: DistGit) -> dict[str, Any]:
    """A package whose build does not end by itself."""
    rev = dist_git.commit({"hello.spec": spec(build=ENDLESS), "hello.sh": SCRIPT})
    return {"rev": rev, "dist_git_url": dist_git.url}


def test_a_builder_whose_power_is_cut_is_lost_at_once(hosts: Lab, new_try: Any, endless: dict[str, Any]) -> None:
    """Then it cannot be reached, and the stage waits until it is tried again."""
    host = hosts.add("b1")
    lost = new_try("build_package")
    lost.ask()
    request, executor = lost.request(**endless), lost.executor()
    with pytest.raises(BuilderUnreachable, match="builder b1 was lost during the stage"):
        during(host, lambda: executor.run(request, workspace=lost.workspace), host.stop)
    again = new_try("build_package", run=lost.ticket.run, try_number=2)
    waits_for = again.ask()
    with store.session() as session:
        builder_leases.reached(session, "b1")
    again.ask()
    with pytest.raises(BuilderUnreachable, match=r"builder b1 cannot be reached: ssh: connect to host "):
        again.executor().run(again.request(**endless), workspace=again.workspace)

    assert waits_for.startswith("build_package waits for a builder: b1 is set aside until ")


def test_a_stage_that_is_cancelled_ends_on_its_builder(hosts: Lab, new_try: Any, endless: dict[str, Any]) -> None:
    """At once; its slot is free, and nobody is set aside."""
    host = hosts.add("b1")
    ended = new_try("build_package")
    ended.ask()
    request, executor = ended.request(**endless), ended.executor()
    with pytest.raises(StageEnded, match="its task was ended"):
        during(host, lambda: executor.run(request, workspace=ended.workspace), executor.cancel)
    wait_until(lambda: is_idle(host), seconds=10)
    next_one = new_try("build_package")

    assert next_one.ask() == ""


def test_what_was_made_without_a_lease_does_not_count(
    hosts: Lab, new_try: Any, endless: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for long, say, and the slot is another's: the stage stops, and nothing comes back."""
    host = hosts.add("b1")
    slow, quick = new_try("build_package"), new_try("build_package")
    slow.settings = slow.settings.model_copy(
        update={"builders": slow.settings.builders.model_copy(update={"lease_seconds": 1})}
    )
    slow.ask()
    request, executor = slow.request(**endless), slow.executor()

    def expire() -> None:
        with store.session() as session:
            over = builder_leases.time_of(session) - timedelta(seconds=1)
            session.execute(update(BuilderLease).values(expires_at=over))

    with pytest.raises(BuilderError, match=r"the lease of builder b1 ran out .*does not count"):
        during(host, lambda: executor.run(request, workspace=slow.workspace), expire)

    assert not Path(request["package_repo"]).exists()
    assert not (slow.workspace / "result.json").exists()
    assert quick.ask() == ""
    wait_until(lambda: is_idle(host))
