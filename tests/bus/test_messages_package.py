"""What a consumer installs: `ci-pipeline-messages`, built from the tree into an environment that has nothing else."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging import message

from ci_pipeline.bus import fedora_ci, fedora_ci_bodies, schemas
from tests.bus import recorded
from tests.bus.stage_facts import PREFIX, facts

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "packages" / "messages"
READER = """
import json, sys
from fedora_messaging import message
for one in message.loads(sys.stdin.read()):
    one.validate()
    print(json.dumps([type(one).__module__, type(one).__name__, str(one), one.severity, one.packages]))
"""


def _uv(*arguments: str | Path) -> None:
    """Run the uv that `make` installs; it asks a registry only for what its cache has not."""
    uv = shutil.which("uv", path=f"{PROJECT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert uv, "there is no uv: make setup"
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}
    for offline in (["--offline"], []):
        ran = subprocess.run([uv, *arguments, *offline], capture_output=True, text=True, check=False, env=environment)
        if ran.returncode == 0:
            return
    pytest.fail(f"uv {arguments[0]}: {ran.stderr}")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the package and what it depends on."""
    folder = tmp_path_factory.mktemp("messages")
    _uv("build", "--wheel", PACKAGE, "--out-dir", folder)
    _uv("venv", "--python", sys.executable, folder / "venv")
    [wheel] = folder.glob("*.whl")
    _uv("pip", "install", "--python", folder / "venv" / "bin" / "python", wheel)
    return folder / "venv" / "bin" / "python"


def _run(python: Path, code: str, given: str = "") -> str:
    # -I: neither this project's folder nor PYTHONPATH.
    ran = subprocess.run([python, "-I", "-c", code], input=given, capture_output=True, text=True, check=True)
    return ran.stdout


def _declared(file: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return project


def test_it_is_the_pipelines_own_and_as_new() -> None:
    """The same classes under the same names, the same version."""
    package, pipeline = _declared(PACKAGE / "pyproject.toml"), _declared(PROJECT / "pyproject.toml")

    assert package["entry-points"]["fedora.messages"] == pipeline["entry-points"]["fedora.messages"]
    assert package["version"] == pipeline["version"]
    assert set(package["dependencies"]) <= set(pipeline["dependencies"])


def test_it_brings_nothing_of_the_pipeline(python: Path) -> None:
    """No Airflow, no database, no settings."""
    names = _run(python, "import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()))").split()
    found = _run(python, "import importlib.util as u; print(u.find_spec('ci_pipeline.settings'))").strip()

    assert "ci-pipeline-messages" in names
    assert not {name for name in names if "airflow" in name} | {"sqlalchemy", "pydantic", "ci-pipeline"} & set(names)
    assert found == "None"


def test_a_consumer_gets_our_classes(python: Path) -> None:
    """Of both contracts, by the entry points, without an import of ours."""
    own = [schemas.make(event, recorded.PREFIX, body) for event, body in recorded.published().items()]
    phase, body = fedora_ci_bodies.body(facts())
    sent = [*own, fedora_ci.make(phase, PREFIX, body)]

    lines = _run(python, READER, message.dumps(sent)).splitlines()

    assert [json.loads(line) for line in lines] == [
        [type(one).__module__, type(one).__name__, str(one), one.severity, one.packages] for one in sent
    ]
