"""`trigger` runs a change by hand. With the real Airflow: tests/e2e/test_by_hand.py."""

import json
from pathlib import Path

import httpx
import pytest

from ci_pipeline import settings, store, trigger
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.cli.conftest import Cli
from tests.distgit import DistGit
from tests.makers import REV

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What Airflow was asked to start; it takes everything."""
    bodies: list[dict[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(trigger, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return bodies


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The head of greeter's f26, in a dist-git of the test's own."""
    distgit = DistGit(tmp_path)
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", distgit.url)
    settings.current.cache_clear()
    return distgit.commit("greeter", {"a": "b"})


def stored() -> list[Run]:
    """Return all runs there are."""
    with store.session() as session:
        return runs.recent(session)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["greeter@f26"], "'greeter@f26' names no change: give NAMESPACE/PACKAGE@REV, for example rpms/mesa@35fdde9"),
        (["rpms/greeter@"], "names no change"),
        (["rpms/@f26"], "names no change"),
        (["rpms/greeter@a b"], "'a b' is not a revision"),
        (["rpms/gr..eter@f26"], "the conf's repo is not valid"),
        (["rpms/greeter@v9"], "rpms/greeter has no branch or tag v9"),
        (["rpms/absent"], "rpms/absent is not in dist-git"),
    ],
)
def test_what_names_no_change_ends_with_1_and_leaves_nothing(
    cli: Cli, head: str, fired: list[object], words: list[str], sentence: str
) -> None:
    """In one sentence."""
    result = cli("trigger", *words, "--branch", "f26")

    assert result.exit_code == 1
    assert sentence in result.stderr
    assert (stored(), fired) == ([], [])


def test_a_branch_without_a_pipeline_ends_with_1(cli: Cli) -> None:
    """Those that have one are named."""
    result = cli("trigger", f"rpms/greeter@{REV}", "--branch", "f19")

    assert result.exit_code == 1
    assert "the branch f19 has no pipeline; there are: f26, rawhide" in result.stderr


@pytest.mark.parametrize("option", ["--image", "--gating", "--conformance"])
def test_a_wrong_option_ends_with_2(cli: Cli, option: str) -> None:
    """As in every command."""
    assert cli("trigger", f"rpms/greeter@{REV}", "--branch", "f26", option, "perhaps").exit_code == 2


def test_airflow_being_away_delays_a_run_and_loses_nothing(cli: Cli, current: settings.Settings) -> None:
    """It is fired like a push that waits."""
    result = cli("trigger", f"rpms/greeter@{REV}", "--branch", "f26")

    assert result.exit_code == 0
    assert "rpms.greeter-35fdde9-f26-1 is queued and starts later: Airflow at" in result.stderr
    with store.session() as session:
        assert [run.run_id for run in runs.not_fired(session)] == ["rpms.greeter-35fdde9-f26-1"]


def test_a_run_has_a_readable_id_its_options_and_all_40_digits(
    cli: Cli, head: str, fired: list[dict[str, object]]
) -> None:
    """The row, what Airflow is told, and what is printed agree."""
    options = ["--image", "always", "--gating", "opt-in", "--conformance", "never", "--test-guidance", "a,b"]
    result = cli("trigger", f"rpms/greeter@{head[:8]}", "--branch", "f26", *options)
    run_id = f"rpms.greeter-{head[:7]}-f26-1"
    (run,) = stored()

    assert result.stdout.splitlines()[0] == f"{run_id}: rpms/greeter {head} on f26"
    assert result.stdout.splitlines()[1].endswith(f"/dags/ci-pipeline-f26/runs/{run_id}")
    assert (run.rev, run.run_id, run.test_guidance, run.fired_at is None) == (head, run_id, "a,b", False)
    assert fired == [
        {
            "dag_run_id": run_id,
            "logical_date": None,
            "partition_key": None,
            "note": f"rpms/greeter {head[:7]} f26",
            "conf": {
                "namespace": "rpms",
                "repo": "greeter",
                "rev": head,
                "test_guidance": "a,b",
                "generate_image": "always",
                "gating": "opt-in",
                "conformance": "never",
            },
        }
    ]


def test_the_same_change_again_is_a_new_run(cli: Cli, head: str, fired: list[object]) -> None:
    """With a number of its own. Without a revision it is the branch's head; programs get the same."""
    cli("trigger", "rpms/greeter", "--branch", "f26")
    result = cli("trigger", f"rpms/greeter@{head}", "--branch", "f26", "--json")
    told = json.loads(result.stdout)

    assert (told["run"], told["build_id"]) == (f"rpms.greeter-{head[:7]}-f26-2", 2)
    assert told["change"]["rev"] == head
    assert [run.rev for run in stored()] == [head, head]


def test_a_package_that_is_not_watched_is_run_with_a_warning(cli: Cli, fired: list[object]) -> None:
    """Its consequence is said."""
    result = cli("trigger", f"rpms/bash@{REV}", "--branch", "f26")

    assert result.exit_code == 0
    assert "rpms/bash is not watched (packages): if it passes, it becomes a part of f26's host" in result.stderr
    assert len(fired) == 1
