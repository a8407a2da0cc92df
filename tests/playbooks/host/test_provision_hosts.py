"""The hosts of a cluster: all of them come up and live on, or none is left; and they end when they are told to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import socket
import socketserver
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ansible.module_utils.ci_cluster import process_of
from ansible.module_utils.ci_host_checks import Ssh
from ansible.module_utils.ci_seed import Segment
from ansible.module_utils.ci_vm import Vm

from tests.playbooks.host.branches import LIMITS
from tests.playbooks.stage_runs import PLAYBOOKS, common
from tests.processes import goes_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.playbooks.host.branches import Branch
    from tests.playbooks.stage_runs import RunStage

    Provision = Callable[..., dict[str, Any]]
    StandIn = Callable[..., subprocess.Popen[bytes]]

QUICK = LIMITS | {"boot_seconds": 3, "memory_mb": 128}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a cluster, which is yet to be made; what runs of it in the end is ended."""
    folder = tmp_path / "run" / "cluster"
    yield folder
    for process in machines(folder):
        process.kill()


@pytest.fixture
def provision(run_stage: RunStage, cluster: Path) -> Provision:
    """Return a function that runs the stage for a cluster of one host, unless told otherwise."""

    def run(**request: Any) -> dict[str, Any]:
        defaults = {"cluster_dir": str(cluster), "cluster": "k3s", "hosts_wanted": 1, "limits": LIMITS}
        return run_stage("provision_hosts", **(defaults | request))

    return run


@pytest.fixture
def image(branch: Branch, host_folder: Path) -> dict[str, str]:
    """Return what is announced of an image of the promoted commit, made once a session."""
    master, announced = host_folder / "images", host_folder / "announced.json"
    if not announced.exists():
        result = branch.stage("generate_image", image_dir=str(master), compose_rev=branch.head(), version="26.1")
        assert result["status"] == "SUCCESS", result["reason"]
        announced.write_text(json.dumps(result["outputs"]), encoding="ascii")
    outputs = json.loads(announced.read_text(encoding="ascii"))
    return {"image_dir": str(master), **{name: outputs[name] for name in ("image_name", "image_sha256")}}


@pytest.fixture
def blank(tmp_path: Path) -> dict[str, str]:
    """Return what is announced of an image without a system on it."""
    path = tmp_path / "images" / "blank.qcow2"
    path.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"], check=True)
    return {"image_dir": str(path.parent), "image_name": path.name, "image_sha256": sha256(path)}


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """Return a function that starts a process, leader of its group, with words in its command line."""
    with contextlib.ExitStack() as started:

        def start(*words: str, script: str = "read -r forever") -> subprocess.Popen[bytes]:
            command = ["/bin/sh", "-c", script, *words]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            started.callback(process.communicate)
            started.callback(process.kill)
            return process

        yield start


def machines(folder: Path) -> list[psutil.Process]:
    """Return the processes with a file below a folder in their command line."""
    return [one for one in psutil.process_iter(["cmdline"]) if f"{folder}/" in " ".join(one.info["cmdline"] or [])]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what is bound to come."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(cluster: Path, pid: int, **more: int) -> str:
    """Write down that a process is host-1, the way the stage does; return the text."""
    cluster.mkdir(parents=True, exist_ok=True)
    text = json.dumps([{"name": "host-1", **process_of(pid), **more}])
    (cluster / "hosts.json").write_text(text, encoding="ascii")
    return text


def console(cluster: Path, name: str = "host-1") -> str:
    """Return what a host's machine has in its command line."""
    return f"file:{cluster / name / 'console.log'}"


class Greeting(socketserver.BaseRequestHandler):
    """What a server outside says to whoever comes."""

    def handle(self) -> None:
        self.request.sendall(b"outside")


@pytest.fixture
def outside() -> Iterator[int]:
    """Return the port of a server on the builder; for a host the builder is 10.0.2.2."""
    with socketserver.TCPServer(("127.0.0.1", 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("announced", "reason"),
    [
        ({"image_sha256": "0" * 64}, "blank.qcow2 is not the file that was announced"),
        ({"image_name": "other.qcow2"}, "has no image other.qcow2"),
        ({"image_name": "../blank.qcow2"}, "has no image ../blank.qcow2"),
        ({"hosts_wanted": 0}, "a cluster has 1 to 100 hosts, not 0"),
    ],
)
def test_what_was_not_announced_is_not_booted(
    provision: Provision, blank: dict[str, str], cluster: Path, announced: dict[str, Any], reason: str
) -> None:
    """An image that is another, or missing, is a fault of the infrastructure, and nothing runs."""
    result = provision(**(blank | announced))

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert reason in result["reason"]
    assert not machines(cluster)


def test_a_host_that_does_not_come_up_ends_all(provision: Provision, blank: dict[str, str], cluster: Path) -> None:
    """The failure names the host, what all consoles said is kept, and no machine is left."""
    result = provision(**blank, hosts_wanted=2, limits=QUICK)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert result["reason"].startswith("host-1: the composed host did not come up in 3 s")
    logs = [(item["name"], item["kind"]) for item in result["artifacts"]]
    assert logs == [("host-1.console.log", "log"), ("host-2.console.log", "log")]
    assert all(not Path(item["path"]).is_relative_to(cluster) for item in result["artifacts"])
    assert not machines(cluster)


def test_a_playbook_that_is_stopped_leaves_no_host(blank: dict[str, str], cluster: Path, tmp_path: Path) -> None:
    """Killed while they boot, it takes them along."""
    wanted = {"cluster_dir": str(cluster), "cluster": "k3s", "hosts_wanted": 2, "limits": LIMITS}
    request = tmp_path / "request.json"
    request.write_text(json.dumps(common("provision_hosts", tmp_path) | blank | wanted | {"workspace": str(tmp_path)}))
    program = str(Path(sys.prefix) / "bin" / "ansible-playbook")
    command = [program, "provision_hosts.yml", "--extra-vars", f"@{request}"]

    with subprocess.Popen(command, cwd=PLAYBOOKS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as playbook:
        wait_until((cluster / "host-2" / "console.log").exists)
        booting = machines(cluster)
        playbook.kill()

    assert len(booting) == 2
    wait_until(lambda: not machines(cluster))


def test_what_an_earlier_try_left_is_ended(
    provision: Provision, blank: dict[str, str], cluster: Path, stand_in: StandIn
) -> None:
    """A new try begins with an empty folder, also when it fails."""
    left = stand_in(console(cluster))
    record(cluster, left.pid)
    (cluster / "kubeconfig").touch()
    result = provision(**(blank | {"image_sha256": "0" * 64}))

    assert result["status"] == "FAILURE"
    assert left.wait(timeout=10) == -9
    assert not cluster.exists()


def test_no_machine_runs_that_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room to write it down, QEMU does not begin."""
    program, ran, pids = tmp_path / "qemu-system-x86_64", tmp_path / "ran", []
    program.write_text(f"#!/bin/sh\ntouch {ran}\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def no_room(pid: int) -> None:
        pids.append(psutil.Process(pid))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Vm(tmp_path, [], 128).start_detached(no_room)

    gone, alive = psutil.wait_procs(pids, timeout=10)
    assert (len(gone), alive, ran.exists()) == (1, [], False)


@pytest.mark.parametrize(("words", "wrong"), [(True, {"started": 1}), (False, {})], ids=["start", "command line"])
def test_a_number_that_another_process_has_now_is_left_alone(
    run_stage: RunStage, cluster: Path, stand_in: StandIn, words: object, wrong: dict[str, int]
) -> None:
    """Who started at another time, or runs something else, is not the host."""
    other = stand_in(*([console(cluster)] if words else []))
    record(cluster, other.pid, **wrong)
    result = run_stage("tear_down_cluster", cluster_dir=str(cluster))

    assert (result["status"], result["outputs"]) == ("SUCCESS", {"ended": 0})
    assert other.poll() is None
    assert not cluster.exists()


@pytest.mark.parametrize("lost", ["", "{", "[]"])
def test_a_list_that_cannot_be_read_keeps_nobody_from_tearing_down(
    run_stage: RunStage, cluster: Path, lost: str
) -> None:
    """It is torn down like one without hosts."""
    (cluster / "suite").mkdir(parents=True)
    (cluster / "hosts.json").write_text(lost, encoding="ascii")
    (cluster / "suite" / "pid").write_text("nobody", encoding="ascii")
    result = run_stage("tear_down_cluster", cluster_dir=str(cluster))

    assert (result["status"], result["outputs"]) == ("SUCCESS", {"ended": 0})
    assert not cluster.exists()


@pytest.mark.parametrize("late", [0, 1], ids=["suite", "another process"])
def test_a_suite_ends_with_its_cluster(run_stage: RunStage, cluster: Path, stand_in: StandIn, late: int) -> None:
    """So does all of its group, unless its number is another process's now."""
    suite = stand_in(script="exec 3<&0; (echo begun; read -r forever <&3) & read -r forever")
    assert suite.stdout
    suite.stdout.readline()
    group = [psutil.Process(suite.pid), *psutil.Process(suite.pid).children()]
    (cluster / "suite").mkdir(parents=True)
    text = f"{suite.pid} {process_of(suite.pid)['started'] + late}\n"
    (cluster / "suite" / "pid").write_text(text, encoding="ascii")
    run_stage("tear_down_cluster", cluster_dir=str(cluster))

    alive = [one for one in group if goes_on(one)]
    assert len(group) == 2
    assert alive == (group if late else [])
    for one in alive:
        one.kill()


def test_two_clusters_do_not_meet(tmp_path: Path) -> None:
    """Their hosts are in different groups, those of one cluster in the same."""
    hosts = [Segment(tmp_path / name, number).devices() for name, number in (("one", 1), ("one", 2), ("two", 1))]

    assert hosts[0][1] == hosts[1][1] != hosts[2][1]
    assert hosts[0][3] != hosts[1][3]


def test_a_host_lives_until_it_is_torn_down(
    provision: Provision, run_stage: RunStage, image: dict[str, str], cluster: Path, outside: int
) -> None:
    """It has its name, answers to the key alone, reaches nothing, and leaves the image as it was."""
    result = provision(**image)
    assert result["status"] == "SUCCESS", result["reason"]
    (host,) = result["outputs"]["cluster_hosts"]
    ssh = Ssh(host["port"], cluster / "key")
    (machine,) = machines(cluster)
    (recorded,) = json.loads((cluster / "hosts.json").read_text(encoding="ascii"))

    assert {"name": "host-1", "address": "127.0.0.1", "user": "root", "inside": "10.0.2.15"}.items() <= host.items()
    assert 0 < result["outputs"]["provision_seconds"] < LIMITS["boot_seconds"]
    assert recorded == host | process_of(machine.pid)
    assert ssh.run("cat /proc/sys/kernel/hostname") == "host-1\n"
    assert [stat.S_IMODE((cluster / name).stat().st_mode) for name in ("key", "hosts.json")] == [0o600, 0o600]
    assert ssh.run(f"nc -w 3 10.0.2.2 {outside} </dev/null; true") == ""
    ssh.run("nc -l -p 6443 -e echo the API </dev/null >/dev/null 2>&1 &")
    assert said(host["api_port"]) == b"the API\n"

    torn_down = [run_stage("tear_down_cluster", cluster_dir=str(cluster)) for _ in range(2)]

    assert [(one["status"], one["outputs"]["ended"]) for one in torn_down] == [("SUCCESS", 1), ("SUCCESS", 0)]
    assert not machines(cluster)
    assert not cluster.exists()
    assert sha256(Path(image["image_dir"]) / image["image_name"]) == image["image_sha256"]


K3S = """#!/bin/sh
# A stand-in for k3s: it leaves a kubeconfig, and something answers at the port of its API.
test "$1" = server || { echo "k3s version v1.30.4+k3s1"; exit; }
mkdir -p /etc/rancher/k3s
printf 'clusters:\\n- cluster:\\n    server: https://127.0.0.1:6443\\n' >/etc/rancher/k3s/k3s.yaml
exec nc -l -p 6443 -e echo the API
"""


def test_a_cluster_is_installed_on_hosts_of_the_image(
    provision: Provision, run_stage: RunStage, image: dict[str, str], cluster: Path, tmp_path: Path
) -> None:
    """What is installed on the host answers at the address of the kubeconfig."""
    program = tmp_path / "k3s"
    program.write_text(K3S, encoding="ascii")
    k3s = {"program": str(program), "sha256": sha256(program), "arguments": []}
    hosts = provision(**image)["outputs"]["cluster_hosts"]
    result = run_stage("configure_cluster", cluster="k3s", cluster_dir=str(cluster), cluster_hosts=hosts, k3s=k3s)

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"cluster_versions": {"k3s": "v1.30.4+k3s1"}}
    assert f"https://127.0.0.1:{hosts[0]['api_port']}" in (cluster / "kubeconfig").read_text(encoding="ascii")
    assert said(hosts[0]["api_port"]) == b"the API\n"


def said(port: int) -> bytes:
    """Return what comes from a port of the builder until it closes, once something listens there in the host."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
            connection.makefile("rb") as file,
        ):
            if heard := file.read():
                return heard
    return b""


def test_hosts_reach_each_other(provision: Provision, image: dict[str, str], cluster: Path, outside: int) -> None:
    """Each at the address that is told of it; with `internet` the outside, too."""
    result = provision(**image, hosts_wanted=2, internet=True, cluster="openshift-ansible")
    assert result["status"] == "SUCCESS", result["reason"]
    one, two = result["outputs"]["cluster_hosts"]
    ssh = Ssh(two["port"], cluster / "key")

    assert [one["inside"], two["inside"]] == ["10.17.0.1", "10.17.0.2"]
    assert (one["api_port"] > 0, two["api_port"]) == (True, 0)
    assert ssh.run("cat /proc/sys/kernel/hostname; cat /etc/resolv.conf") == "host-2\nnameserver 10.0.2.3\n"
    assert "1 packets received" in ssh.run(f"ping -c 1 -w 20 {one['inside']}")
    assert "1 packets received" in Ssh(one["port"], ssh.key).run(f"ping -c 1 -w 20 {two['inside']}")
    assert ssh.run(f"nc -w 20 10.0.2.2 {outside} </dev/null") == "outside"
