"""Docker for the tests: Compose projects of their own, and a base image made here where none can be pulled."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
BASE = "debian:12.12-slim"
STAND_IN = "ci-pipeline-test/base:12"
# Airflow's five components boot at once; a busy machine takes ten times as long as an idle one.
UP_SECONDS = 1800


def docker(*words: str, stdin: bytes | None = None, seconds: float = 120) -> str:
    """Run docker and return what it says; raises CalledProcessError."""
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, check=True, timeout=seconds)
    return done.stdout.decode()


def compose_command() -> Sequence[str] | None:
    """Return the words that run Compose 2: as docker's plugin, or by itself; None where there is neither."""
    for words in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(words[0]):
            told = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
            if told.returncode == 0 and told.stdout.lstrip("v").startswith(("2.", "3.", "4.", "5.")):
                return words
    return None


def missing() -> str:
    """Return why nothing can be run here; "" when it can."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "no Docker engine answers"
    return "" if compose_command() else "there is no Compose 2"


def base_image(scratch: Path) -> str:
    """Return a base image that is at hand: what BASE_IMAGE says, the real one, or a stand-in made by debootstrap."""
    if named := os.environ.get("BASE_IMAGE"):
        return named
    if subprocess.run(["docker", "pull", "--quiet", BASE], capture_output=True, check=False).returncode == 0:
        return BASE
    if not docker("images", "--quiet", STAND_IN).strip():
        _stand_in(scratch / "root")
    return STAND_IN


def _stand_in(root: Path) -> None:
    """Debian's own minimal system, with this machine's certificates: its mirrors may have an authority of their own."""
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root)]
    subprocess.run([*command, "http://deb.debian.org/debian"], check=True, capture_output=True, timeout=900)
    own = root / "usr/local/share/ca-certificates/machine"
    own.mkdir(parents=True)
    ending = "-----END CERTIFICATE-----\n"
    bundle = Path("/etc/ssl/certs/ca-certificates.crt").read_text(encoding="ascii")
    for number, one in enumerate(bundle.split(ending)[:-1]):
        (own / f"{number}.crt").write_text(one[one.index("-----BEGIN") :] + ending, encoding="ascii")
    subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)
    importing = ["docker", "import", "-", STAND_IN]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(importing, stdin=tar.stdout, check=True, capture_output=True, timeout=300)


@dataclass(frozen=True)
class Stack:
    """A Compose project of docker-compose.yaml.

    Attributes:
        name: of the project; containers, networks and volumes start with it.
        environment: the variables the file asks for.
    """

    name: str
    environment: Mapping[str, str]

    def compose(self, *words: str, stdin: bytes | None = None, seconds: float = 300) -> str:
        """Run Compose on the project and return what it says; raises CalledProcessError."""
        words = (*(compose_command() or ()), "--project-name", self.name, *words)
        env = {**os.environ, **self.environment}
        done = subprocess.run(
            words, input=stdin, capture_output=True, check=False, timeout=seconds, env=env, cwd=PROJECT
        )
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        return done.stdout.decode()

    def pipeline(self, *words: str, stdin: bytes | None = None) -> str:
        """Run a command of ci-pipeline in the api-server's container."""
        return self.compose("exec", "-T", "api-server", "ci-pipeline", *words, stdin=stdin)

    def containers(self) -> list[dict[str, Any]]:
        """Return what Compose knows of every container, those that have ended included."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines]

    def unhealthy(self) -> list[str]:
        """Return who is not well: neither healthy, nor a one-shot that has succeeded."""
        return [
            f"{one['Service']}: {one['Status']}"
            for one in self.containers()
            if one["Health"] != "healthy" and (one["State"], one["ExitCode"]) != ("exited", 0)
        ]

    def up(self, *words: str) -> None:
        """Start what is not up, and wait until everybody is well."""
        self.compose("up", "--detach", *words, seconds=UP_SECONDS)
        wait(lambda: not self.unhealthy(), UP_SECONDS, lambda: f"not healthy: {self.unhealthy()}")


def wait(done: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    """Wait for something; an AssertionError with the problem if it does not come."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, problem()
        time.sleep(2)
