"""The pods that Airflow's chart makes of deploy/helm/values.yaml, as containers on the servers of a Compose project.

No chart is at hand: what it adds to our values is in here as its templates have it, of a release named ci-pipeline.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ci_pipeline.deployment.secret_files import ACCOUNTS

from .engine import PROJECT, Stack, docker

VALUES: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "helm" / "values.yaml").read_text())
WORKERS: dict[str, Any] = VALUES["workers"]["celery"]
# The chart's own for two of them; there is no ENTRYPOINT in our images, so this is all of the command.
ARGUMENTS: Mapping[str, Sequence[str]] = {
    "api-server": ["bash", "-c", "exec airflow api-server"],
    "scheduler": VALUES["scheduler"]["args"],
    "dag-processor": ["bash", "-c", "exec airflow dag-processor"],
    "triggerer": VALUES["triggerer"]["args"],
    "worker": WORKERS["args"],
}
_JOB = "exec /entrypoint airflow jobs check --local --job-type"
_APP = "airflow.providers.celery.executors.celery_executor.app"
# How the chart asks each whether it lives.
PROBES: Mapping[str, str] = {
    "api-server": "exec curl --fail --silent http://127.0.0.1:8080/api/v2/monitor/health",
    "scheduler": f"{_JOB} SchedulerJob",
    "dag-processor": f"{_JOB} DagProcessorJob",
    "triggerer": f"{_JOB} TriggererJob",
    "worker": f"exec /entrypoint python -m celery --app {_APP} inspect ping -d celery@$(hostname)",
}
# What it takes from the secrets that our values name, but for the address of the database, which they switch off.
BUILT_IN = (
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CORE__FERNET_KEY",
)
HOME = Path(VALUES["airflowHome"])
STATE = HOME.parent


@dataclass(frozen=True)
class Pods(Stack):
    """The parts of Airflow as the chart starts them, on the servers and volumes of a Compose project.

    Attributes:
        scratch: a folder for what the chart keeps in ConfigMaps and Secrets.
    """

    scratch: Path

    @property
    def image(self) -> str:
        """What all of them are made of."""
        return f"ci-pipeline/builder:{VALUES['images']['airflow']['tag']}"

    def prepare(self) -> None:
        """Write the ConfigMaps and Secrets, and have the init container of the api-server hand its passwords over."""
        sections = VALUES["config"] | {"core": VALUES["config"]["core"] | {"executor": VALUES["executor"]}}
        lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in sections.items()]
        (self.scratch / "airflow.cfg").write_text("\n".join(lines))
        (self.scratch / "environment").write_text("".join(f"{k}={v}\n" for k, v in self._environment.items()))
        for folder in ("passwords", "passwords-secret"):
            (self.scratch / folder).mkdir()
        for folder in ("runs", "cache", "airflow/logs"):
            (self._volume("state") / folder).mkdir(parents=True, exist_ok=True)
            shutil.chown(self._volume("state") / folder, ACCOUNTS["airflow"], ACCOUNTS["airflow"])
        (self.scratch / "passwords-secret" / "passwords.json").write_text(
            json.dumps({"admin": self._known["CI_PIPELINE_AIRFLOW__PASSWORD"]})
        )
        shutil.chown(self.scratch / "passwords", ACCOUNTS["airflow"], ACCOUNTS["airflow"])
        handing = VALUES["apiServer"]["extraInitContainers"][0]
        mounts = [f"{self.scratch / one['name']}:{one['mountPath']}" for one in handing["volumeMounts"]]
        words = [word for mount in mounts for word in ("--volume", mount)]
        docker("run", "--rm", *self._confined, *words, self.image, *handing["command"])

    def job(self, *command: str) -> str:
        """Run one of the chart's jobs, or what a pod waits for before it starts."""
        return docker("run", "--rm", *self._words, self.image, *command, seconds=300)

    def start(self, name: str) -> None:
        """Start a pod; the workers reach what is outside, too."""
        ours = ("--security-opt", f"seccomp={PROJECT}/deploy/docker/seccomp.json")
        sandboxes = (*ours, "--security-opt", "systempaths=unconfined", "--security-opt", "apparmor=unconfined")
        alias = ("--network-alias", f"ci-pipeline-{name}", "--name", self._container(name))
        more = sandboxes if name == "worker" else ()
        docker("create", *alias, *more, *self._words, self.image, *ARGUMENTS[name])
        docker("network", "connect", f"{self.name}_outside", self._container(name))
        docker("start", self._container(name))

    def alive(self, name: str) -> bool:
        """Return what the chart's probe makes of a pod."""
        words = ("docker", "exec", self._container(name), "sh", "-c", PROBES[name])
        return subprocess.run(words, capture_output=True, check=False, timeout=120).returncode == 0

    def said(self, name: str) -> str:
        """Return the end of a pod's log."""
        words = ("docker", "logs", "--tail", "40", self._container(name))
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()

    def pipeline(self, *words: str, stdin: bytes | None = None) -> str:
        """Run a command of ci-pipeline in the api-server's pod."""
        return docker("exec", "-i", self._container("api-server"), "ci-pipeline", *words, stdin=stdin)

    def remove(self) -> None:
        """End and remove all pods."""
        names = [self._container(name) for name in ARGUMENTS]
        subprocess.run(["docker", "rm", "--force", *names], capture_output=True, check=False)

    def _container(self, name: str) -> str:
        return f"{self.name}-pod-{name}"

    @cached_property
    def _known(self) -> dict[str, str]:
        """The addresses and secrets of the Compose project."""
        told = self.compose("exec", "-T", "api-server", "cat", "/etc/ci-pipeline/airflow/stack.env")
        pairs = (line.split("=", 1) for line in told.splitlines())
        return {key: value.strip("'") for key, value in pairs}

    @property
    def _environment(self) -> dict[str, str]:
        """As README.md has the secrets, and the chart names them; the variables of our values."""
        known = self._known
        database = known["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2", "postgresql")
        named = (*BUILT_IN, *(one["envName"] for one in VALUES["secret"]))
        return {
            "AIRFLOW_CONN_AIRFLOW_DB": database,
            **{name: known[name] for name in named},
            **{one["name"]: one["value"] for one in VALUES["env"]},
        }

    @property
    def _confined(self) -> list[str]:
        user = f"{VALUES['uid']}:{VALUES['gid']}"
        return ["--user", user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

    @property
    def _words(self) -> list[str]:
        """Of docker, for every pod: account, network, environment and mounts."""
        volumes = {name: self._volume(name) for name in ("state", "artifacts")}
        mounts = {
            self.scratch / "airflow.cfg": f"{HOME}/airflow.cfg:ro",
            self.scratch / "passwords": str(STATE / "passwords"),
            Path(self.environment["PIPELINE_TOML"]): "/opt/ci-pipeline/pipeline.toml:ro",
            volumes["artifacts"]: str(STATE / "artifacts"),
            volumes["state"] / "runs": str(STATE / "runs"),
            volumes["state"] / "cache": str(STATE / "cache"),
            volumes["state"] / "airflow" / "logs": str(HOME / "logs"),
            # Where the tests' settings have dist-git.
            volumes["state"] / "dist-git": f"{STATE}/dist-git:ro",
        }
        return [
            *self._confined,
            *("--network", f"{self.name}_servers", "--env-file", str(self.scratch / "environment")),
            *(word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}")),
        ]

    def _volume(self, name: str) -> Path:
        """Return where the engine keeps a volume: one of its folders is mounted, as the chart's subPath does."""
        return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.name}_{name}").strip())
