"""Commands on a host over SSH, one after another, with a real server."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest
from ansible.module_utils.ci_host_checks import CheckError, Ssh

from tests.playbooks.ssh_hosts import USER, SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SshHost]:
    """A host that lets the key beside its folder in."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    with SshHost(tmp_path / "node-1", "node-1").running(key.with_suffix(".pub").read_text()) as running:
        yield running


@pytest.fixture
def ssh(host: SshHost, tmp_path: Path) -> Ssh:
    """How it is reached."""
    return Ssh(host.port, tmp_path / "key", user=USER)


def logins(host: SshHost) -> int:
    """Return how often somebody was let in."""
    return (host.folder.parent / "node-1.log").read_text().count("auth succeeded")


def test_a_host_that_lets_nobody_in_says_so(ssh: Ssh, host: SshHost) -> None:
    """With one connection for all or without: in the words of ssh, and at once."""
    (host.folder / "home" / ".ssh" / "authorized_keys").write_text("")
    with ssh.one_connection() as together, pytest.raises(CheckError, match="Permission denied"):
        together.run("echo here")
    with pytest.raises(CheckError, match="Permission denied"):
        ssh.run("echo here")


def test_a_command_that_fails_says_why(ssh: Ssh) -> None:
    """Those after it are none the worse."""
    with ssh.one_connection() as together:
        with pytest.raises(CheckError, match=r"^no such thing$"):
            together.run("echo no such thing >&2; false")
        with pytest.raises(CheckError, match=r"^no answer from the host within 0 seconds$"):
            together.run("sleep 60", seconds=0.2)
        said = together.run("cat", "what is given")

    assert said == "what is given"


def test_where_there_can_be_no_shared_connection_each_command_has_its_own(
    ssh: Ssh, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a Unix socket is short, and temporary files may lie deep."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with ssh.one_connection() as together:
        said = [together.run(f"echo {number}") for number in range(2)]

    # One more is the connection that was to be for all.
    assert (said, logins(host)) == (["0\n", "1\n"], 3)


def test_a_shared_connection_that_is_lost_costs_no_command(ssh: Ssh, host: SshHost) -> None:
    """A package's test may restart the server."""
    with ssh.one_connection() as together:
        before = together.run("echo before")
        for process in connections(host):
            process.kill()
            process.wait(10)
        after = together.run("echo after")

    assert (before, after) == ("before\n", "after\n")


def test_commands_share_a_connection_that_ends_with_them(ssh: Ssh, host: SshHost) -> None:
    """However many there are."""
    with ssh.one_connection() as together:
        said = [together.run(f"echo {number}") for number in range(4)]
        there = len(connections(host))

    assert said == ["0\n", "1\n", "2\n", "3\n"]
    assert (there, logins(host), connections(host)) == (1, 1, [])


def connections(host: SshHost) -> list[psutil.Process]:
    """Return the ssh clients of this process that hold a connection to the host."""
    children = psutil.Process().children()
    return [one for one in children if one.name() == "ssh" and str(host.port) in one.cmdline()]
