"""Several builders, and what takes long: `make test-infra`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline import store
from ci_pipeline.errors import BuilderUnreachable
from ci_pipeline.outcome import Status
from ci_pipeline.store import builder_leases
from tests.builders.hosts import wait_until
from tests.builders.lasting import during, is_idle

if TYPE_CHECKING:
    from tests.builders.hosts import Lab


def test_a_stage_whose_builder_falls_off_the_network_is_tried_on_another(
    hosts: Lab, new_try: Any, source: dict[str, Any]
) -> None:
    """What ran there ends by itself, and when the host is back nothing of it counts."""
    first = hosts.add("b1")
    hosts.add("b2")
    lost = new_try("build_package")
    lost.ask()
    request, executor = lost.request(**source), lost.executor()
    with pytest.raises(BuilderUnreachable, match=r"builder b1 was lost during the stage: .*; it is left alone until "):
        during(first, lambda: executor.run(request, workspace=lost.workspace), first.pull_out)
    again = new_try("build_package", run=lost.ticket.run, try_number=2)
    again.ask()
    built = again.executor().run(again.request(**source), workspace=again.workspace)
    wait_until(lambda: is_idle(first))
    first.plug_in()
    third = new_try("build_package")
    third.ask()
    with store.session() as session:
        aside = [(one.builder, one.failures) for one in builder_leases.aside(session)]

    assert (built.status, again.builder.name) == (Status.SUCCESS, "b2")
    assert Path(request["package_repo"]).is_dir()
    assert not (lost.workspace / "result.json").exists()
    assert aside == [("b1", 1)]
    assert third.builder.name == "b2"


def test_two_stages_go_to_two_hosts_and_a_third_waits(hosts: Lab, new_try: Any, source: dict[str, Any]) -> None:
    """At the same time; it gets the first that is free."""
    hosts.add("b1"), hosts.add("b2")
    both, third = [new_try("build_package"), new_try("build_package")], new_try("build_package")
    for one in both:
        one.ask()
    waits_for = third.ask()
    together = threading.Barrier(2)

    def build(one: Any) -> Status:
        together.wait()
        return one.executor().run(one.request(**source), workspace=one.workspace).status

    with ThreadPoolExecutor() as pool:
        statuses = list(pool.map(build, both))

    assert sorted(one.builder.name for one in both) == ["b1", "b2"]
    assert waits_for.endswith("b1 has 1 of 1 slots in use; b2 has 1 of 1 slots in use")
    assert statuses == [Status.SUCCESS, Status.SUCCESS]
    assert third.ask() == ""
