"""The pipeline in containers, for real: `make test-infra`. Takes a quarter of an hour, and an engine."""

import json
import stat
from typing import Any

import httpx
import pytest

from ci_pipeline.demo import distgit, packager
from tests.deployment.test_compose_file import ONCE, STAY

from .conftest import share
from .engine import PROJECT, Stack, docker, wait

pytestmark = pytest.mark.timeout(5400)

TOPIC = "org.fedoraproject.prod.git.receive"
RUN_SECONDS = 2400


def push(up: Stack, place: distgit.DistGit) -> str:
    """Push a new release of the demo's package, say so on the bus, and return its commit."""
    pushed = packager.push_good(place, PROJECT / "demo" / "packages")
    share(up, place)
    change = {"namespace": "rpms", "repo": "greeter", "rev": pushed.rev, "branch": "f26"}
    up.pipeline("send", "-", "--topic", TOPIC, stdin=json.dumps(change).encode())
    return pushed.rev


def run_of(up: Stack, rev: str) -> dict[str, Any]:
    """Return what is known of the run of a commit; nothing while there is none."""
    runs = json.loads(up.pipeline("runs", "--json"))
    found = next((run for run in runs if run["change"]["rev"] == rev), None)
    return dict(json.loads(up.pipeline("results", "--run", found["run"], "--json"))) if found else {}


def ended(up: Stack, rev: str) -> dict[str, Any]:
    """Wait for the end of a commit's run, and return what is known of it."""
    wait(lambda: bool(run_of(up, rev).get("status")), RUN_SECONDS, lambda: f"the run goes on: {run_of(up, rev)}")
    return run_of(up, rev)


def test_everybody_is_well(up: Stack) -> None:
    """What stays is healthy, and what runs once has succeeded."""
    states = {one["Service"]: (one["State"], one["Health"], one["ExitCode"]) for one in up.containers()}

    assert {name for name, state in states.items() if state == ("exited", "", 0)} == ONCE
    assert {name for name, state in states.items() if state[:2] == ("running", "healthy")} == set(STAY) - {"builder"}


def test_nobody_has_rights(up: Stack) -> None:
    """As the kernel has it: no capability, not even to be gained, and no root."""
    for name in sorted(set(STAY) - {"builder"}):
        status = up.compose("exec", "-T", name, "cat", "/proc/self/status")
        known = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

        assert known["Uid"].split()[0] != "0", name
        assert int(known["CapBnd"], 16) == int(known["CapEff"], 16) == 0, name
        assert known["NoNewPrivs"] == "1", name
        assert known["Seccomp"] == "2", name


def test_each_account_reads_its_own_secrets_alone(up: Stack) -> None:
    """A worker cannot read what is the database's, nor everything."""
    look = (
        "for f in secrets.json postgres/roles.sql rabbitmq/cookie; do cat /etc/ci-pipeline/$f 2>/dev/null; done; echo"
    )

    assert up.compose("exec", "-T", "worker", "sh", "-c", look).strip() == ""
    mode = up.compose("exec", "-T", "worker", "stat", "-c", "%a %u", "/etc/ci-pipeline/airflow/stack.env").split()
    assert mode == [f"{stat.S_IRUSR | stat.S_IWUSR:o}", "10001"]


def test_database_and_broker_are_out_of_reach(up: Stack) -> None:
    """Nothing is published of them."""
    published = {
        one["Service"] for one in up.containers() if one["Publishers"] and one["Publishers"][0]["PublishedPort"]
    }

    assert published == {"api-server", "artifacts"}


def test_a_change_goes_through(up: Stack, place: distgit.DistGit) -> None:
    """All stages, and what it made is served; the secrets are in nobody's log."""
    run = ended(up, push(up, place))
    listing = httpx.get(f"{up.environment['ARTIFACTS_URL']}/fedora-atomic/f26/repo/", trust_env=False)
    kept = json.loads(up.compose("run", "--rm", "-T", "init", "cat", "/etc/ci-pipeline/secrets.json"))
    logs = up.compose("logs")

    assert run["status"] == "SUCCESS"
    assert "greeter_repo" in listing.text
    assert not [name for name, secret in kept.items() if secret in logs]


def test_a_stage_of_a_killed_worker_is_tried_again(up: Stack, place: distgit.DistGit) -> None:
    """Two workers; the one that has the stage is killed, and the other takes over."""
    up.up("--scale", "worker=2")
    rev = push(up, place)
    wait(lambda: _worker_of(up, rev) != "", RUN_SECONDS, lambda: "no worker took the stage up")
    docker("kill", _worker_of(up, rev))
    run = ended(up, rev)
    up.up()

    assert run["status"] == "SUCCESS"
    assert max(stage["try_number"] for stage in run["stages"]) > 1


def test_a_restart_keeps_everything(up: Stack) -> None:
    """Containers are made anew; results and accounts stay, but for the passwords that are renewed meanwhile."""
    before = json.loads(up.pipeline("runs", "--json")), up.pipeline("password")
    up.compose("down")
    renew = ("--renew", "postgres", "--renew", "rabbitmq", "--renew", "celery")
    up.compose("run", "--rm", "-T", "init", "ci-pipeline", "init", "secrets", *renew)
    up.up()
    # A message that makes no run; the bus takes it, so it knows the new password.
    ping = up.pipeline("send", "-", "--topic", TOPIC, stdin=b"{}")

    assert (json.loads(up.pipeline("runs", "--json")), up.pipeline("password")) == before
    assert ping.startswith("sent ")


def _worker_of(up: Stack, rev: str) -> str:
    """Return the container that works on a commit now; "" if none does."""
    for container in up.compose("ps", "--quiet", "worker").split():
        words = docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        if f"-{rev[:7]}-" in words:
            return container
    return ""
