"""What a stage reads is brought to its builder, and no more."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline.builders.connection import Connection
from ci_pipeline.builders.place import Place
from ci_pipeline.builders.sending import Sending
from ci_pipeline.errors import BuilderError

if TYPE_CHECKING:
    from tests.builders.hosts import Lab


def ostree(repo: Path, *arguments: str) -> str:
    """Run ostree on a repository and return what it prints."""
    command = ["ostree", arguments[0], f"--repo={repo}", *arguments[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def send(hosts: Lab, request: dict[str, Any]) -> Place:
    """Send what a request reads; return where it is on the builder."""
    builder = hosts.builder("b1")
    place = Place(builder, request)
    with Connection(builder) as connection:
        Sending(connection, place, request).send()
    return place


def commit(repo: Path, tree: Path, text: str) -> str:
    """Commit a tree with one file."""
    tree.mkdir(exist_ok=True)
    (tree / "file").write_text(text, encoding="ascii")
    return ostree(repo, "commit", "--branch=f26", "--owner-uid=0", "--owner-gid=0", str(tree))


def test_of_a_repository_one_commit_goes(hosts: Lab, new_try: Any, tmp_path: Path) -> None:
    """Not the branch's history; one that is not there stays away, and the stage says so."""
    hosts.add("b1")
    made = new_try("generate_image")
    repo = Path(made.request()["artifacts"], "ostree")
    repo.mkdir(parents=True)
    ostree(repo, "init", "--mode=archive")
    first, second = (commit(repo, tmp_path / "tree", text) for text in ("one", "two"))
    place = send(hosts, made.request(ostree_repo=str(repo), compose_rev=first))
    there = Path(place.there(str(repo)))
    shown, held = ostree(there, "show", first), [path.name for path in (there / "objects").rglob("*.commit")]
    send(hosts, made.request(ostree_repo=str(repo), compose_rev="0" * 64))

    assert first in shown
    assert held == [f"{first[2:]}.commit"]
    assert second != first
    assert not there.exists()
    assert [path.name for path in made.workspace.iterdir()] == []


def test_a_symlink_is_not_sent_as_the_image(hosts: Lab, new_try: Any) -> None:
    """Neither it nor what it leads to."""
    hosts.add("b1")
    tested = new_try("smoke_test")
    images = Path(tested.request()["artifacts"], "images")
    images.mkdir(parents=True)
    (images / "a.qcow2").symlink_to("/etc/passwd")
    place = send(hosts, tested.request(image_dir=str(images), image_name="a.qcow2"))

    assert not Path(place.there(str(images))).exists()


def test_what_is_not_the_pipelines_is_not_sent(hosts: Lab, new_try: Any, tmp_path: Path) -> None:
    """A builder has no place for it."""
    hosts.add("b1")
    tested = new_try("functional_tests")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with pytest.raises(BuilderError, match=r"elsewhere is not below artifacts\.folder"):
        send(hosts, tested.request(package_repo=str(elsewhere)))
