"""docker-compose.yaml and its images, as far as they can be read without an engine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci_pipeline.deployment.secret_files import ACCOUNTS

PROJECT = Path(__file__).parents[2]
DOCKER = PROJECT / "deploy" / "docker"
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
LITERAL = re.compile(r"(?i)(password|secret|token|fernet_key)\w*\s*[=:]\s*['\"]?\w")
USERADD = re.compile(r"useradd --system --uid (\d+) .* (\S+) \\$", re.MULTILINE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# They do one thing and end; the others stay.
ONCE = {"init", "migrate", "set-up"}
STAY = sorted(set(SERVICES) - ONCE)
# The only ones that run package code.
SANDBOXES = {"worker", "builder"}


def test_every_part_of_the_pipeline_is_a_service() -> None:
    """The reconciler is none: it is a DAG, and runs on the workers."""
    parts = {"postgres", "rabbitmq", "artifacts", "api-server", "scheduler", "dag-processor", "triggerer", "worker"}

    assert parts | ONCE | {"builder"} == set(SERVICES)


@pytest.mark.parametrize("name", STAY)
def test_what_stays_is_restarted_and_asked_how_it_is(name: str) -> None:
    """A component that dies comes back, and one that hangs is seen."""
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", sorted(set(STAY) - {"artifacts", "builder"}))
def test_whoever_has_something_to_end_gets_the_time(name: str) -> None:
    """The ten seconds of the engines are too few for it on a busy machine."""
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_runs_once_is_not_repeated_but_waited_for(name: str) -> None:
    """Whoever needs it begins when it has succeeded."""
    waiting = [one["depends_on"].get(name, {}).get("condition") for one in SERVICES.values() if "depends_on" in one]

    assert SERVICES[name]["restart"] == "no"
    assert name == "set-up" or "service_completed_successfully" in waiting


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nobody_has_more_rights_than_it_needs(name: str) -> None:
    """No root but for the one-shot that hands secrets over, no capability but its one, no privileged container."""
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "init" else [])
    assert service.get("user", "") == ("0:0" if name == "init" else "")
    assert not {"privileged", "pid", "ipc", "userns_mode", "devices"} & set(service)
    assert service.get("network_mode") == ("none" if name == "init" else None)
    assert service["read_only"] is True
    loosened = {option.partition("=")[0] for option in service["security_opt"]} - {"no-new-privileges:true"}
    assert loosened == ({"seccomp", "systempaths", "apparmor"} if name in SANDBOXES else set())


def test_no_image_is_root() -> None:
    """Each of the images ends as an account of its own."""
    targets = re.split(r"^FROM \S+ AS ", DOCKERFILE, flags=re.MULTILINE)[1:]
    users = {target.split()[0]: re.findall(r"^USER (\S+)", target, re.MULTILINE)[-1:] for target in targets}

    used = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert used == {service["image"].partition("/")[2].partition(":")[0] for service in SERVICES.values()}
    assert used == {"airflow", "artifacts", "builder", "postgres", "rabbitmq"}
    assert all(users[target] not in ([], ["root"]) for target in used)


def test_the_accounts_have_the_numbers_their_secrets_are_given_to() -> None:
    """Else a service could not read its own, or another could."""
    numbers = {name: int(uid) for uid, name in USERADD.findall(DOCKERFILE)}
    airflow = re.search(r"useradd --system --uid (\d+) .*--shell", DOCKERFILE)

    assert airflow is not None
    assert {"airflow": int(airflow[1]), "postgres": numbers["postgres"], "rabbitmq": numbers["rabbitmq"]} == ACCOUNTS
    assert f"install -d -o {ACCOUNTS['airflow']}" in DOCKERFILE


def test_only_the_servers_pages_are_published_and_on_loopback() -> None:
    """Neither database nor broker can be reached from outside, unless somebody says so."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(published) == {"api-server", "artifacts"}
    assert all("ADDRESS:-127.0.0.1:" in port for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["servers"] == {"internal": True}
    assert all(SERVICES[name]["networks"] == ["servers"] for name in ("postgres", "rabbitmq"))


def test_there_is_no_password() -> None:
    """Neither a literal nor a default; secrets are made at the first start."""
    names = [name for service in SERVICES.values() for name in service.get("environment", {})]
    texts = [path.read_text() for path in (PROJECT / "docker-compose.yaml", *DOCKER.iterdir())]

    assert not [name for name in names if re.search(r"PASSWORD|SECRET|KEY|TOKEN|CONN|BROKER", name)]
    assert not [text for text in texts if LITERAL.search(text)]
    assert not [text for text in texts if re.search(r"\w+://[^/\s]+:[^/\s]+@", text)]


def test_images_have_versions() -> None:
    """Ours are of this version, the base of a version of Debian; nothing is the latest."""
    version = re.search(r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)

    assert version is not None
    assert all(service["image"].endswith(f":{version[1]}") for service in SERVICES.values())
    assert "latest" not in DOCKERFILE
    bases = re.findall(r"debian:[\w.-]+", DOCKERFILE + (PROJECT / "docker-compose.yaml").read_text())
    assert set(bases) == {"debian:12.12-slim"}


def test_state_is_in_volumes() -> None:
    """What a container writes elsewhere is gone with it."""
    named = {mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}

    assert set(COMPOSE["volumes"]) <= named
    assert all(":ro" in mount for mount in SERVICES["artifacts"]["volumes"])
    writable = {name for name in SERVICES if "secrets:/etc/ci-pipeline" in SERVICES[name].get("volumes", [])}
    assert writable == {"init", "api-server"}


def test_the_sandboxes_system_calls() -> None:
    """What bubblewrap needs is let through; what reaches kernel or neighbours is not."""
    profile = json.loads((DOCKER / "seccomp.json").read_text())
    refused = {name for group in profile["syscalls"] for name in group["names"] if group["action"] == "SCMP_ACT_ERRNO"}

    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert not refused & {"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root"}
    assert {"bpf", "init_module", "kexec_load", "keyctl", "open_by_handle_at", "ptrace", "reboot"} <= refused


def test_the_builders_have_the_toolchain_of_this_project() -> None:
    """The image takes the list the machines take, without what only tests and servers need."""
    left_out = re.search(r"grep -vxE '#\.\*\|([^']+)'", DOCKERFILE)
    known = set((PROJECT / "scripts" / "packages.debian").read_text().split())

    assert left_out is not None
    assert set(left_out[1].split("|")) <= known
