"""Waiting for the SSH of hosts, with a real server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.ssh_hosts import SshHost
from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from pathlib import Path


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A port that takes connections and says nothing of SSH is no host that is up."""
    with (
        SshHost(tmp_path / "hosts" / "node-1", "node-1").running("") as host,
        socket.create_server(("127.0.0.1", 0)) as mute,
    ):
        mute.settimeout(0)
        other = mute.getsockname()[1]
        mute.close()
        hosts = [{"address": "127.0.0.1", "port": port} for port in (host.port, other)]
        with pytest.raises(
            InfrastructureError, match=f"^no SSH server answered in 0 s at 127.0.0.1 port {other}: look"
        ):
            module("await_ssh").wait({"hosts": hosts, "seconds": 0.0})
        answered = module("await_ssh").wait({"hosts": hosts[:1], "seconds": 5.0})

    assert answered == {}
