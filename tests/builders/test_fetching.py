"""What a builder has for us is taken only if all of it is right, and goes nowhere but where it belongs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline.builders import listing
from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.fetching import Fetch
from ci_pipeline.builders.listing import is_safe
from ci_pipeline.builders.place import Place
from ci_pipeline.errors import BuilderError, BuilderUnreachable, ExecutorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ci_pipeline.builders.inventory import Builder
    from tests.builders.hosts import Lab


class Left:
    """What a build left on a builder, that a test may spoil; and this machine."""

    def __init__(self, builder: Builder, request: dict[str, Any]) -> None:
        self.builder, self.request = builder, request
        self.place = Place(self.builder, request)
        self.workspace, self.repo = Path(request["workspace"]), Path(request["package_repo"])
        self.there, self.repo_there = Path(self.place.root, "workspace"), Path(self.place.there(str(self.repo)))
        self.artifacts: list[dict[str, Any]] = []
        self.there.mkdir(parents=True)
        self.repo_there.mkdir(parents=True)
        self.add(self.there / "build.log", "log")
        self.add(self.repo_there / "hello-1-1.noarch.rpm", "rpm")

    def add(self, path: Path, kind: str, text: str = "made there") -> None:
        """Make a file there, and report it."""
        path.write_text(text, encoding="ascii")
        self.report(path, kind, hashlib.sha256(text.encode()).hexdigest(), len(text))

    def report(self, path: Path, kind: str, sha256: str = "0" * 64, size: int = 1) -> None:
        """Report a file."""
        self.artifacts.append({"name": path.name, "path": str(path), "kind": kind, "sha256": sha256, "size": size})

    def write_report(self, **more: Any) -> None:
        """Write the report."""
        result = {"status": "SUCCESS", "artifacts": self.artifacts, "outputs": {"package_repo": str(self.repo_there)}}
        result |= more
        (self.there / "result.json").write_text(json.dumps(result), encoding="utf-8")

    def fetch(self) -> None:
        """Fetch all of it."""
        with Connection(self.builder) as connection:
            Fetch(connection, self.place, self.request, self.workspace).fetch(lambda: None)

    def landed(self) -> list[str]:
        """Return what of it is on this machine, in its place or anywhere."""
        state = self.workspace.parents[3]
        return sorted(str(path.relative_to(state)) for path in state.rglob("*") if not path.is_dir())


@pytest.fixture
def left(hosts: Lab, new_try: Any, monkeypatch: pytest.MonkeyPatch) -> Left:
    """What a good build left."""
    monkeypatch.setattr(listing, "MOST_FILES", 20)
    hosts.add("b1")
    request = new_try("build_package").request()
    (Path(request["workspace"]) / "request.json").write_text("ours", encoding="ascii")
    return Left(hosts.builder("b1"), request)


def test_nothing_but_what_is_reported_and_written_comes_back(left: Left) -> None:
    """With the paths of this machine; scratch stays there."""
    (left.there / "scratch").write_text("x", encoding="ascii")
    left.write_report()
    left.fetch()
    told = json.loads((left.workspace / "result.json").read_text(encoding="utf-8"))
    names = {path.name for path in left.workspace.iterdir()}

    assert names == {"request.json", "result.json", "build.log"}
    assert [path.name for path in left.repo.iterdir()] == ["hello-1-1.noarch.rpm"]
    assert Path(left.request["package_link"]).resolve() == left.repo
    assert [one["path"] for one in told["artifacts"]] == [
        str(left.workspace / "build.log"),
        str(left.repo / "hello-1-1.noarch.rpm"),
    ]
    assert told["outputs"]["package_repo"] == str(left.repo)


def test_of_what_is_reused_nothing_comes_back_but_that_it_is(left: Left) -> None:
    """The pipeline has it; a folder of that name on the builder is not what is meant."""
    left.write_report(artifacts=[], outputs={}, content_key="5" * 64, reuses=True)
    left.fetch()
    told = json.loads((left.workspace / "result.json").read_text(encoding="utf-8"))

    assert (told["content_key"], told["reuses"]) == ("5" * 64, True)
    assert not left.repo.exists()
    assert not Path(left.request["package_link"]).is_symlink()


def _symlink(left: Left) -> None:
    (left.repo_there / "shadow").symlink_to("/etc/passwd")
    left.report(left.repo_there / "shadow", "rpm")


def _symlink_in_workspace(left: Left) -> None:
    (left.there / "test.log").symlink_to("/etc/passwd")
    left.report(left.there / "test.log", "log")


def _climbs(left: Left) -> None:
    left.add(left.there / ".." / "climbed.log", "log")


def _ours(left: Left) -> None:
    left.add(left.there / "request.json", "log")


def _elsewhere(left: Left) -> None:
    left.report(Path("/etc/hostname"), "log")


def _other_bytes(left: Left) -> None:
    (left.there / "build.log").write_text("MADE there", encoding="ascii")


def _grown(left: Left) -> None:
    (left.there / "build.log").write_text("more than was reported" * 1000, encoding="ascii")


def _large(left: Left) -> None:
    with (left.repo_there / "large.rpm").open("wb") as file:
        file.truncate((1 << 30) + 1)


def _many(left: Left) -> None:
    for number in range(21):
        (left.repo_there / str(number)).touch()


def _odd_name(left: Left) -> None:
    (left.repo_there / "a\nb").touch()


def _no_repository(left: Left) -> None:
    (left.repo_there / "hello-1-1.noarch.rpm").unlink()
    left.repo_there.rmdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_symlink, "reports .*/shadow, and has no such file for us"),
        (_symlink_in_workspace, r"builder b1.*test\.log"),
        (_climbs, r"names a file '\.\./climbed\.log', which is not taken"),
        (_ours, "names a file that is ours: 'request.json'"),
        (_elsewhere, "reports /etc/hostname, and has no such file for us"),
        (_other_bytes, "'build.log' is not what it was on builder b1: its sha256 differs"),
        (_grown, "builder b1: rsync failed: "),
        (_large, "has 'large.rpm' of 1073741825 bytes; at most 1073741824 are taken"),
        (_many, "has more than 20 files for us"),
        (_odd_name, "which is not taken from it"),
        (_no_repository, "can't cd to .*/builds/run-1"),
    ],
)
def test_what_is_not_right_is_refused_and_nothing_of_it_counts(
    left: Left, spoil: Callable[[Left], None], sentence: str
) -> None:
    """Neither a file nor the report; what was here stays."""
    spoil(left)
    left.write_report()

    with pytest.raises(BuilderError, match=sentence):
        left.fetch()

    assert (left.workspace / "request.json").read_text(encoding="ascii") == "ours"
    assert not (left.workspace / "result.json").exists()
    assert not left.repo.exists()


def test_a_stage_that_writes_one_file_gives_it_the_name_it_must_have(hosts: Lab, new_try: Any) -> None:
    """It cannot put itself in the place of another image, or of the newest."""
    hosts.add("b1")
    made = new_try("generate_image")
    images = made.request()["artifacts"] + "/images"
    request = made.request(image_dir=images, version="26.1", compose_rev="c" * 64, package_repo=images)
    left = Left(hosts.builder("b1"), request)
    left.add(left.repo_there / "latest.qcow2", "image")
    left.write_report()

    with pytest.raises(BuilderError, match=r"does not report the file fedora-atomic-26.1-c{15}.qcow2"):
        left.fetch()

    assert not Path(images, "latest.qcow2").exists()


def test_a_report_that_breaks_the_contract_is_refused(left: Left) -> None:
    """As that of a stage on this machine is."""
    (left.there / "result.json").write_text('{"status": "GREAT"}', encoding="ascii")

    with pytest.raises(ExecutorError, match="breaks the stage contract at status"):
        left.fetch()


def test_a_report_that_is_a_symlink_is_none(left: Left) -> None:
    """Nothing is read through it."""
    (left.there / "result.json").symlink_to("/etc/passwd")
    left.fetch()

    assert not (left.workspace / "result.json").exists()


def test_a_host_with_another_key_is_not_the_builder(left: Left, hosts: Lab) -> None:
    """Whatever the operator's settings of ssh say: nothing is sent there."""
    hosts.hosts[0].variables["ansible_ssh_common_args"] = (
        f"-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile={hosts.folder}/known_hosts"
    )
    known = hosts.folder / "known_hosts"
    known.write_text(known.read_text().replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAIB")[:-2] + "\n")

    left.builder = hosts.builder("b1")
    with pytest.raises(BuilderUnreachable, match=r"builder b1 cannot be reached: .*Host key verification failed"):
        left.fetch()


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "a\n", "\x1b[1m", "a\0b", "."]
)
def test_a_name_that_leads_elsewhere_or_cannot_be_shown_is_not_safe(name: str) -> None:
    """Whoever says it."""
    assert not is_safe(name)


def test_plain_names_are_safe() -> None:
    """Those that packages have."""
    assert is_safe("repodata/primary.xml.gz")
    assert is_safe("-hello-1.0~rc1-1.fc26.x86_64+é.rpm")
