"""Stages on builders: real sshd hosts, real playbooks, and what can go wrong between them and here."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_pipeline.outcome import Status
from tests.playbooks.sti import basic
from tests.playbooks.test_build_package import SCRIPT, spec

if TYPE_CHECKING:
    from tests.builders.hosts import Lab
    from tests.playbooks.stage_runs import DistGit

FILES = {"hello.spec": spec(), "hello.sh": SCRIPT, "tests/tests.yml": basic(hello="hello | grep hello")}


def test_a_package_is_built_on_one_builder_and_tested_on_another(
    hosts: Lab, dist_git: DistGit, new_try: Any, controller: Path
) -> None:
    """What was built comes back whole, with the logs; nothing is left there, and the paths are this machine's."""
    first, second = hosts.add("b1"), hosts.add("b2")
    source = {"rev": dist_git.commit(FILES), "dist_git_url": dist_git.url}
    build = new_try("build_package")
    build.ask()
    built = build.executor().run(build.request(**source), workspace=build.workspace)
    hosts.hosts.remove(first)
    hosts.write()
    test = new_try("functional_tests", run=build.ticket.run)
    test.ask()
    request = test.request(**source, packages=["hello"], nvr=built.outputs["nvr"])
    tested = test.executor().run(request, workspace=test.workspace)
    hosts.hosts.append(first)
    repo, link = Path(request["package_repo"]), Path(request["package_link"])

    assert (built.status, tested.status, tested.outputs) == (Status.SUCCESS, Status.SUCCESS, {"total": 1, "failed": 0})
    assert (build.builder.name, test.builder.name) == ("b1", "b2")
    assert built.outputs["package_repo"] == str(repo)
    assert link.resolve() == repo
    assert (repo / "repodata" / "repomd.xml").is_file()
    assert {one.kind for one in built.artifacts} == {"srpm", "rpm", "log"}
    for one in [*built.artifacts, *tested.artifacts]:
        assert hashlib.sha256(Path(one.path).read_bytes()).hexdigest() == one.sha256
        assert Path(one.path).is_relative_to(controller)
    for host in (first, second):
        assert not list((host.state / "runs").glob("*/*/*"))
