"""The whole of docker-compose.yaml, up, once for all tests here."""

import io
import re
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_pipeline.demo import distgit
from ci_pipeline.stack import ports

from .engine import PROJECT, Stack, base_image, missing


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> distgit.DistGit:
    """A dist-git with the demo's packages, without hooks: messages are sent by hand here."""
    made = distgit.DistGit(tmp_path_factory.mktemp("demo") / "dist-git")
    for package in distgit.PACKAGES:
        distgit._create(made.repository(package), PROJECT / "demo" / "packages" / package)
    return made


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory, place: distgit.DistGit) -> Iterator[Stack]:
    """The pipeline in containers, healthy; all of it is gone afterwards."""
    if problem := missing():
        pytest.skip(problem)
    scratch = tmp_path_factory.mktemp("compose")
    stack = Stack(f"ci-pipeline-test-{secrets.token_hex(3)}", _variables(scratch))
    try:
        stack.compose("build", seconds=3600)
        stack.up()
        share(stack, place)
        yield stack
    except AssertionError as error:
        error.add_note(stack.compose("logs", "--tail", "40"))
        raise
    finally:
        stack.compose("--profile", "builder", "down", "--volumes", "--remove-orphans")


def share(stack: Stack, place: distgit.DistGit) -> None:
    """Put the dist-git as it is now where the workers look for it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(place.folder, "dist-git")
    unpack = ("tar", "-C", "/var/lib/ci-pipeline", "--no-same-owner", "-xf", "-")
    stack.compose("exec", "-T", "worker", *unpack, stdin=content.getvalue())


def _variables(scratch: Path) -> dict[str, str]:
    free = ports.choose(("airflow", "artifacts"))
    settings = (PROJECT / "pipeline.toml").read_text()
    url = 'url = "file:///var/lib/ci-pipeline/dist-git"\ncatch_up = false'
    (scratch / "pipeline.toml").write_text(re.sub(r'^url = ".*"$', url, settings, count=1, flags=re.MULTILINE))
    return {
        "BASE_IMAGE": base_image(scratch),
        "PIPELINE_TOML": str(scratch / "pipeline.toml"),
        "AIRFLOW_ADDRESS": f"127.0.0.1:{free['airflow']}",
        "AIRFLOW_URL": f"http://127.0.0.1:{free['airflow']}",
        "ARTIFACTS_ADDRESS": f"127.0.0.1:{free['artifacts']}",
        "ARTIFACTS_URL": f"http://127.0.0.1:{free['artifacts']}",
        "BUILDER_KEYS": str(_key(scratch)),
        "WORKER_CONCURRENCY": "2",
    }


def _key(scratch: Path) -> Path:
    key = scratch / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key.with_suffix(".pub")
