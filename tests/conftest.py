"""What all tests share: settings of their own, and servers that are started when a test first needs them."""

import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest
from sqlalchemy import text

# Before anything reads the settings: no test may see the state, or the environment, of a pipeline that runs here.
for name in [name for name in os.environ if name.startswith(("CI_PIPELINE_", "AIRFLOW_"))]:
    del os.environ[name]
_STATE = tempfile.TemporaryDirectory(prefix="ci-pipeline-tests-")
os.environ["CI_PIPELINE_STATE"] = _STATE.name
# Whether Kubernetes was built here must make no difference.
os.environ["CI_PIPELINE_CONFORMANCE__CLUSTER"] = "none"
os.environ["AIRFLOW_HOME"] = f"{_STATE.name}/airflow"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(Path(__file__).parents[1] / "plugins")

from ci_pipeline import redaction, settings, stack, store  # noqa: E402 - the environment has to come first
from tests.database import empty  # noqa: E402

# How long an example may take depends on what else the machine does.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how long the chaos lasts, and what it draws; how many hostile messages are made up."""
    parser.addoption("--chaos-rounds", type=int, default=1, help="how often everything is killed (default: once)")
    parser.addoption("--chaos-seed", type=int, default=secrets.randbelow(2**32), help="repeat what this seed draws")
    parser.addoption(
        "--fuzz-messages", type=int, default=0, help="so many, others each time (default: the same 10,000)"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed in any case: a run that hangs must be repeatable, too."""
    return f"Using --chaos-seed={config.getoption('--chaos-seed')}"


# Of what needs the whole stack. They wait for minutes, for what Airflow and the reconciler find out by themselves.
_LONGEST: Final = {"test_chaos": 0, "test_endings": 1, "test_cluster": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the whole stack last: from its first test on Airflow takes its share of the machine.

    Of that the longest goes first, so that no worker has it left when the others are through.
    """
    items.sort(key=lambda item: ("e2e" in item.path.parts, _LONGEST.get(item.path.stem, len(_LONGEST))))


@pytest.fixture(autouse=True)
def _settings_read_anew() -> Iterator[None]:
    """No test sees the settings another one had read, nor masks the secrets of another one."""
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()
    redaction.forget()


@pytest.fixture(scope="session")
def servers() -> Iterator[stack.UpResult]:
    """A PostgreSQL and a RabbitMQ of the session's own, with our schema; the settings point to them."""
    state = Path(_STATE.name)
    try:
        started = stack.up(state=state, wanted=("postgres", "rabbitmq"))
        _hasten(state / "postgres" / "data")
        yield started
    finally:
        store.let_go()
        stack.down(state=state)


def _hasten(data: Path) -> None:
    """Let PostgreSQL neither hash passwords nor wait for the disk: nothing here outlives a crash."""
    access = data / "pg_hba.conf"
    access.write_text(access.read_text().replace("scram-sha-256", "trust"))
    with store.session() as session:
        session.execute(text("ALTER ROLE CURRENT_USER SET synchronous_commit = off"))
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)


@pytest.fixture
def database(servers: stack.UpResult) -> Iterator[None]:
    """An empty database, and empty again afterwards."""
    yield
    empty()


@pytest.fixture
def current(servers: stack.UpResult) -> settings.Settings:
    """The settings of the project's pipeline.toml, with the session's servers."""
    return settings.current()


@pytest.fixture
def recorded() -> Path:
    """The folder of messages recorded on the real bus."""
    return Path(__file__).parent / "data" / "messages"
