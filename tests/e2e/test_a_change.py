"""A change goes all the way through, and a bad one moves nothing."""

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ci_pipeline import settings, store, trigger
from ci_pipeline.conf import Conf
from ci_pipeline.datahub import queries
from ci_pipeline.manifests.verifying import verify_kept
from ci_pipeline.settings import Settings
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Image, Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, push, wait_until
from tests.makers import EVENTS_OF_A_GOOD_RUN

PREFIX = "org.centos.prod.ci.pipeline."
EVENTS = ["package.queued", *EVENTS_OF_A_GOOD_RUN]


def run_tool(*argv: str | Path) -> str:
    """Run a tool and return what it prints."""
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True).stdout.strip()


def folder_of(pipeline: Settings, branch: str = "f26") -> Path:
    """Return where a branch keeps its artifacts."""
    return pipeline.artifacts.folder / "fedora-atomic" / branch


def run_of(rev: str) -> Run:
    """Return the run of a revision."""
    with store.session() as session:
        return session.scalars(select(Run).where(Run.rev == rev)).one()


def body(messages: list[dict[str, Any]], event: str) -> dict[str, str]:
    """Return the body of an event."""
    return next(message["body"] for message in messages if message["topic"] == PREFIX + event)


def test_every_event_is_announced_once_and_in_order(good: list[dict[str, Any]]) -> None:
    """Conformance has no cluster here: it is skipped, and says nothing."""
    assert [message["topic"].removeprefix(PREFIX) for message in good] == EVENTS
    assert {message["body"]["status"] for message in good} == {"SUCCESS"}


def test_the_messages_have_exactly_the_recorded_keys(good: list[dict[str, Any]], recorded: Path) -> None:
    """As an independent client got them from the broker."""
    for message in good:
        example = json.loads((recorded / f"{message['topic']}.json").read_text())["msg"]

        assert message["body"].keys() == example.keys(), message["topic"]
        assert all(isinstance(value, str) for value in message["body"].values())
        assert message["body"]["topic"] == message["topic"]


def test_what_is_known_is_said_in_the_contracts_form(good: list[dict[str, Any]], distgit: DistGit) -> None:
    """NVRs, revisions, URLs, and what is not known yet."""
    rev = good[0]["body"]["rev"]
    commits = distgit.commits("greeter", rev)
    compose_rev = body(good, "complete")["compose_rev"]

    assert body(good, "package.running")["nvr"] == ""
    assert body(good, "package.complete")["original_spec_nvr"] == "greeter-1.0-1.fc26"
    assert body(good, "package.complete")["nvr"] == f"greeter-1.0-1.{commits}.{rev[:7]}.fc26"
    assert body(good, "compose.running")["compose_rev"] == "''"
    assert re.fullmatch("[0-9a-f]{64}", compose_rev)
    assert body(good, "image.complete")["image_name"] == f"fedora-atomic-26.1-{compose_rev[:15]}.qcow2"
    assert body(good, "compose.complete")["compose_url"].endswith("/fedora-atomic/f26/ostree")
    assert body(good, "package.test.functional.running")["package_url"].endswith("/f26/repo/greeter_repo/")
    assert body(good, "complete")["CI_NAME"] == "ci-pipeline-f26"


def test_the_rpm_is_real(good: list[dict[str, Any]], pipeline: Settings) -> None:
    """In the run's own repository, as `package_url` serves it until the next build of the package."""
    nvr = body(good, "package.complete")["nvr"]
    repo = folder_of(pipeline) / "repo" / "builds" / run_of(good[0]["body"]["rev"]).run_id
    (rpm,) = repo.rglob("*.noarch.rpm")

    assert run_tool("rpm", "-qp", "--qf", "%{name}-%{version}-%{release}", rpm) == nvr
    assert "/usr/bin/greeter" in run_tool("rpm", "-qlp", rpm).splitlines()
    for served in (repo, folder_of(pipeline) / "repo" / "greeter_repo"):
        assert (served / "repodata" / "repomd.xml").is_file()


def test_the_commit_is_real_and_on_the_ref(good: list[dict[str, Any]], pipeline: Settings) -> None:
    """It holds the package, and its first version. Later changes may have moved the ref on."""
    repo = folder_of(pipeline) / "ostree"
    compose_rev = body(good, "complete")["compose_rev"]

    assert f"commit {compose_rev}" in run_tool("ostree", f"--repo={repo}", "log", body(good, "complete")["ref"])
    assert "26.1" in run_tool("ostree", f"--repo={repo}", "show", "--print-metadata-key=version", compose_rev)
    assert "greeter" in run_tool("ostree", f"--repo={repo}", "ls", compose_rev, "/usr/bin/greeter")
    assert "no errors found" in run_tool("ostree", f"--repo={repo}", "fsck")


def test_the_image_is_real_and_is_what_the_datahub_says(good: list[dict[str, Any]], pipeline: Settings) -> None:
    """A qcow2 with the stored checksum; `latest` points to it."""
    name = body(good, "image.complete")["image_name"]
    path = folder_of(pipeline) / "images" / name
    described = json.loads(run_tool("qemu-img", "info", "--output=json", path))
    with store.session() as session:
        image = session.scalars(select(Image).where(Image.name == name)).one()

    assert described["format"] == "qcow2"
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.smoke_passed_at is not None
    assert (path.parent / "latest.qcow2").resolve() == path


def test_the_image_is_validated_and_has_a_manifest(good: list[dict[str, Any]], pipeline: Settings) -> None:
    """Written by the run itself: packages as the commit has them, the tools of the builder, every file as it is."""
    name, compose_rev = body(good, "image.complete")["image_name"], body(good, "complete")["compose_rev"]
    # The reconciler may publish `complete` while its task is at work.
    wait_until(lambda session: images.find(session, name).has_manifest, seconds=60, what=f"a manifest of {name}")
    path = folder_of(pipeline) / "images" / f"{name}.manifest.json"
    told = json.loads(path.read_bytes())
    repo = folder_of(pipeline) / "ostree"
    listed = run_tool("ostree", f"--repo={repo}", "show", "--print-metadata-key=rpmostree.rpmdb.pkglist", compose_rev)
    done = verify_kept(pipeline, name)

    assert (done.problems, done.notes) == ((), ("there is no provenance: nothing proves who made this image",))
    assert done.files >= 4
    assert told["compose_rev"] == compose_rev
    assert len(told["packages"]) == listed.count("('")
    assert [one for one in told["packages"] if one.startswith("greeter-1.0-1.")]
    assert told["builders"].keys() == {"build_package", "compose_ostree", "generate_image"}
    for tools in told["builders"].values():
        assert tools.keys() == {"ci-pipeline", "createrepo_c", "kernel", "ostree", "qemu", "rpm"}
    assert [one["status"] for one in told["results"]] == ["SUCCESS"] * 6 + ["SKIPPED"] * 4


def test_every_stage_has_a_result_and_conformance_is_skipped_with_its_reason(good: list[dict[str, Any]]) -> None:
    """A skip never reads as a pass."""
    run = run_of(good[0]["body"]["rev"])
    with store.session() as session:
        results = runs.latest_results(session, run.id)
        booted = results["smoke_test"].outputs["booted_rev"]

    assert [results[name].status for name in results] == ["SUCCESS"] * 6 + ["SKIPPED"] * 4
    assert results["provision_hosts"].reason.endswith('conformance.when = "never" in pipeline.toml')
    assert booted == body(good, "complete")["compose_rev"]


def test_package_tests_are_stored_one_by_one(good: list[dict[str, Any]]) -> None:
    """Those of the package and those of the host."""
    run = run_of(good[0]["body"]["rev"])
    with store.session() as session:
        results = runs.latest_results(session, run.id)
        functional = {test.name: test.outcome for test in results["functional_tests"].tests}
        integration = {test.outcome for test in results["integration_tests"].tests}

    assert functional == {"says-hello": "passed"}
    assert integration == {"passed"}


def test_the_same_push_again_starts_no_second_run(
    good: list[dict[str, Any]], bus: Bus, recorded: Path, distgit: DistGit
) -> None:
    """It is a duplicate; what comes behind it is taken up as ever."""
    rev = good[0]["body"]["rev"]
    push(bus, recorded, "greeter", rev)
    push(bus, recorded, "polari", "8073b99c61e58abb8fbcd60cf8ea518d184d0108")
    bus.wait_for("package.ignore", "8073b99c61e58abb8fbcd60cf8ea518d184d0108", seconds=60)

    assert bus.of(rev) == good
    assert run_of(rev).status == "SUCCESS"


@pytest.mark.usefixtures("good")
def test_a_package_whose_check_fails_moves_nothing(
    bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings
) -> None:
    """FAILURE, with the reason; the branch's ref, its packages and its images stay as they were."""
    folder = folder_of(pipeline)

    def state() -> list[str]:
        ref = run_tool("ostree", f"--repo={folder / 'ostree'}", "rev-parse", "fedora/f26/x86_64/atomic-host")
        packages = sorted(rpm.name for rpm in (folder / "repo" / "last-good").resolve().rglob("*.rpm"))
        return [ref, *packages, *sorted(image.name for image in (folder / "images").iterdir())]

    before = state()
    rev = distgit.commit("greeter", package("greeter", "1.1", check="echo greeting is rude; exit 1"))
    push(bus, recorded, "greeter", rev)
    messages = bus.wait_for("complete", rev)
    run = run_of(rev)

    assert [message["topic"].removeprefix(PREFIX) for message in messages] == [*EVENTS[:3], "complete"]
    assert [message["body"]["status"] for message in messages] == ["SUCCESS", "SUCCESS", "FAILURE", "FAILURE"]
    assert body(messages, "complete")["original_spec_nvr"] == "greeter-1.1-1.fc26"
    assert run.reason.startswith("build_package: %check failed")
    assert state() == before


@pytest.mark.usefixtures("good")
def test_failing_functional_tests_of_a_gating_package_stop_before_the_compose(
    bus: Bus, recorded: Path, distgit: DistGit
) -> None:
    """UNSTABLE, with the name of the test. Run again, it is tested again, and not built again."""
    rev = distgit.commit("greeter", package("greeter", "1.2", run="'false'"))
    push(bus, recorded, "greeter", rev)
    messages = bus.wait_for("complete", rev)

    assert [message["topic"].removeprefix(PREFIX) for message in messages] == [*EVENTS[:6], "complete"]
    assert messages[-1]["body"]["status"] == "UNSTABLE"
    assert "says-hello" in run_of(rev).reason

    first = run_of(rev)
    again = trigger.trigger(settings.current(), Conf(repo="greeter", rev=rev), branch="f26")
    ends = [f"{PREFIX}complete"] * 2

    def heard(_: object) -> bool:
        return [one["topic"] for one in bus.of(rev) if one["topic"] in ends] == ends

    wait_until(heard, seconds=120, what=f"the end of {again.run}")
    with store.session() as session:
        built, tested, *_ = queries.run_results(session, settings.current(), runs.get(session, again.run)).stages
    said = [one["body"] for one in bus.of(rev) if one["topic"].endswith(".package.complete")]

    assert (built.status, built.reused_from) == ("SUCCESS", f"f26/{first.number}/build_package/1")
    assert (tested.status, tested.reused_from) == ("UNSTABLE", None)
    assert [one["build_id"] for one in said] == [str(first.number), str(again.build_id)]
    assert len({one["nvr"] for one in said}) == 1


@pytest.mark.usefixtures("good")
def test_an_opt_in_package_is_reported_and_goes_on_without_an_image(
    bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings
) -> None:
    """UNSTABLE at the end, composed on top of the branch; no image is due within the interval."""
    rev = distgit.commit("hostinfo", package("hostinfo", "1.0", run="'false'"))
    push(bus, recorded, "hostinfo", rev)
    messages = bus.wait_for("complete", rev)
    repo = folder_of(pipeline) / "ostree"
    compose_rev = body(messages, "complete")["compose_rev"]
    with store.session() as session:
        results = runs.latest_results(session, run_of(rev).id)

    assert messages[-1]["body"]["status"] == "UNSTABLE"
    assert not [message for message in messages if ".image." in message["topic"]]
    assert results["generate_image"].status == "SKIPPED"
    assert "no image is due before" in results["generate_image"].reason
    assert results["compose_ostree"].outputs["package_diff"]["added"]
    assert run_tool("ostree", f"--repo={repo}", "rev-parse", body(messages, "complete")["ref"]) == compose_rev
    for program in ("greeter", "hostinfo"):
        assert program in run_tool("ostree", f"--repo={repo}", "ls", compose_rev, f"/usr/bin/{program}")
