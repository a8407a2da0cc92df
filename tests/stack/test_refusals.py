"""What `up` refuses, and what it says then. Nothing is started here."""

import fcntl
import os
from pathlib import Path

import pytest

from ci_pipeline import stack
from ci_pipeline.errors import StackError
from ci_pipeline.stack import tools


def test_an_unknown_component_is_named_with_those_there_are(tmp_path: Path) -> None:
    """A typo is answered with the list."""
    with pytest.raises(StackError, match=r"no component postgers; there are epmd, rabbitmq, postgres"):
        stack.up(state=tmp_path / "s", wanted=["postgers"])

    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("odd", ["a'b", 'a"b', "a%b", "a$b", "a;b", "a\\b", "a,b", "a{b}", "a\nb"])
def test_a_path_that_a_configuration_cannot_quote_is_refused(tmp_path: Path, odd: str) -> None:
    """No file is written that would mean something else than the path."""
    with pytest.raises(StackError, match=r"move the project or choose another state folder"):
        stack.up(state=tmp_path / odd, wanted=["artifacts"])

    assert not (tmp_path / odd).exists()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """The kernel's limit is told as such, not as a supervisor that does not answer."""
    with pytest.raises(StackError, match=r"too long for a Unix socket"):
        stack.up(state=tmp_path / ("d" * 120), wanted=["artifacts"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """Root does not take over a user's stack."""
    folder = tmp_path / "s"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(StackError, match=r"belongs to another user"):
        stack.up(state=folder, wanted=["artifacts"])


def test_a_missing_tool_leads_to_make_setup() -> None:
    """Whoever has not installed a server learns how."""
    with pytest.raises(StackError, match=r"no-such-server is not installed; run `make setup`"):
        tools.find("no-such-server", "/nonexistent/*/no-such-server")


def test_the_highest_of_several_versions_is_used(tmp_path: Path) -> None:
    """PostgreSQL 15 is newer than 9, whatever the alphabet says."""
    for version in ("9", "15", "9.6"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "postgres").touch()

    assert tools.find("postgres", f"{tmp_path}/*/postgres") == f"{tmp_path}/15/postgres"


def test_two_at_once_do_not_meddle(tmp_path: Path) -> None:
    """While one starts or stops a stack, another is told to wait."""
    folder = tmp_path / "s"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StackError, match=r"another `ci-pipeline up` or `down` works on"):
            stack.up(state=folder, wanted=["artifacts"])
        with pytest.raises(StackError, match=r"another `ci-pipeline up` or `down` works on"):
            stack.down(state=folder)


@pytest.mark.parametrize("name", ["stack.json", "secrets.json"])
def test_damaged_records_are_said_to_be_damaged(tmp_path: Path, name: str) -> None:
    """A half-written file is named, with the way out."""
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / name).write_text('{"ports": ')
    with pytest.raises(StackError, match=rf"{name} cannot be read; run `ci-pipeline down`"):
        stack.up(state=folder, wanted=["artifacts"])


def test_a_stack_that_never_was_is_down(tmp_path: Path) -> None:
    """Looking at it and stopping it are no errors and make no folder."""
    found, stopped = stack.status(state=tmp_path / "s"), stack.down(state=tmp_path / "s")

    assert not found.running
    assert not found.healthy
    assert stopped.already_down
    assert not (tmp_path / "s").exists()
