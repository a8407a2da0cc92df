"""The demo's dist-git: real repositories, and a hook that says every push on the bus."""

import contextlib
import json
import stat
from pathlib import Path

import pika
import pytest

from ci_pipeline.bus import inbound
from ci_pipeline.demo import distgit, packager
from ci_pipeline.demo.distgit import BRANCHES, PACKAGES, DistGit
from ci_pipeline.errors import StackError
from ci_pipeline.settings import Settings
from tests.demo.conftest import SOURCES, git


def test_a_missing_package_is_named_and_leaves_nothing_half_made(current: Settings, tmp_path: Path) -> None:
    """A checkout without the demo's packages is told so; the next try starts clean."""
    place = distgit.of_state(tmp_path)

    with pytest.raises(StackError, match="greeter"):
        distgit.ensure(place, tmp_path / "nowhere", current)

    assert not [path for path in place.folder.rglob("*") if path.name != place.hook_config.name and path.is_file()]


def test_every_package_has_its_branches_and_files(place: DistGit) -> None:
    """Each branch holds exactly what the project has."""
    for package in PACKAGES:
        wanted = sorted(
            str(path.relative_to(SOURCES / package)) for path in (SOURCES / package).rglob("*") if path.is_file()
        )
        for branch in BRANCHES:
            listed = git(place.repository(package), "ls-tree", "-r", "--name-only", branch)

            assert sorted(listed.splitlines()) == wanted


def test_making_it_twice_keeps_every_commit(place: DistGit, current: Settings) -> None:
    """A second demo finds the history of the first."""
    heads = [git(place.repository(package), "show-ref") for package in PACKAGES]

    distgit.ensure(place, SOURCES, current)

    assert [git(place.repository(package), "show-ref") for package in PACKAGES] == heads


def test_nobody_else_can_read_the_brokers_password(place: DistGit, current: Settings) -> None:
    """It is in the hook's configuration, for its owner only, and nowhere else."""
    secret = current.bus.url.get_secret_value()
    holders = [
        path for path in place.folder.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")
    ]

    assert holders == [place.hook_config]
    assert stat.S_IMODE(place.hook_config.stat().st_mode) == 0o600


def test_a_push_is_on_the_bus_and_the_intake_reads_it(place: DistGit, current: Settings) -> None:
    """The hook's message is `git.receive` in today's form: topic, keys, and the change that was pushed."""
    connection = pika.BlockingConnection(pika.URLParameters(current.bus.url.get_secret_value()))
    with contextlib.closing(connection):
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", "#.git.receive")

        pushed = packager.push_good(place, SOURCES)
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        again, _, _ = channel.basic_get(queue, auto_ack=True)

    read = inbound.read(method.routing_key, inbound.decode(body), message_id=properties.message_id)
    change = read.change
    assert method.routing_key == "org.fedoraproject.prod.git.receive"
    assert set(json.loads(body)) == {"agent", "commit"}
    assert (change.namespace, change.repo, change.rev, change.branch) == ("rpms", "greeter", pushed.rev, "f26")
    assert (read.agent, read.ignore_reason) == ("packager", "")
    assert again is None


def test_a_push_that_cannot_be_published_tells_the_packager(place: DistGit) -> None:
    """Git ignores how the hook ends, so the push itself has to say it."""
    place.hook_config.write_text("this is not TOML")

    pushed = packager.push_good(place, SOURCES)

    assert "the push was not published on the bus" in pushed.said
