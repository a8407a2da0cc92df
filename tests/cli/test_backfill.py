"""`revisions` and `backfill`: what people and programs are told."""

import json
from pathlib import Path

import pytest

from ci_pipeline import settings, store
from ci_pipeline.store import runs
from tests.cli.conftest import Cli
from tests.distgit import DistGit

pytestmark = pytest.mark.usefixtures("database", "current")


@pytest.fixture
def distgit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DistGit:
    """A dist-git the settings point to."""
    made = DistGit(tmp_path)
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", made.url)
    monkeypatch.setenv("CI_PIPELINE_AIRFLOW__URL", "http://127.0.0.1:9")
    settings.current.cache_clear()
    return made


def test_history_is_imported_listed_and_run(cli: Cli, distgit: DistGit) -> None:
    """Airflow is away here: the runs wait, like any other."""
    rev = distgit.commit("greeter", {"x": "1"})
    imported, again = cli("revisions", "import"), cli("revisions", "import", "--json")
    listed = cli("revisions", "list", "--json")
    dry = cli("backfill", "rpms/greeter", "--branch", "f26", "--last", "3", "--dry-run")
    made = cli("backfill", "rpms/greeter", "--branch", "f26", "--from", rev[:8], "--to", rev, "--json")
    with store.session() as session:
        (run,) = runs.recent(session)
        runs.locked(session, run.id).status = "SUCCESS"
    anew = cli("backfill", "rpms/greeter", "--branch", "f26", "--last", "1", "--again", "all", "--no-reuse", "--json")
    with store.session() as session:
        other = runs.get(session, json.loads(anew.stdout)[0]["run"])

    assert imported.stdout == "rpms/greeter f26: 1 new of 1\n1 revisions taken up\n"
    assert [one["new"] for one in json.loads(again.stdout)] == [0]
    assert [one["rev"] for one in json.loads(listed.stdout)] == [rev]
    assert dry.stdout.endswith("1 would be run; 0 skipped\n")
    assert [one["run"] for one in json.loads(made.stdout)] == [run.run_id]
    assert (run.rev, run.kind, run.options) == (rev, "backfill", {})
    assert (other.rev, other.kind, other.options) == (rev, "backfill", {"reuse": "never"})
    assert "backfill" in cli("runs").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("backfill", "greeter", "--branch", "f26", "--last", "1"),
        ("backfill", "rpms/greeter", "--branch", "f26"),
        ("backfill", "rpms/greeter", "--branch", "f26", "--from", "1"),
        ("backfill", "rpms/greeter", "--branch", "f26", "--last", "1", "--to", "1"),
        ("revisions", "import", "--repo", "nobodys"),
        ("revisions", "import", "--branch", "f99"),
        ("revisions", "import", "--since", "yesterday"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, words: tuple[str, ...]) -> None:
    """As misuse: nothing was looked at."""
    assert cli(*words).exit_code == 2


def test_airflows_own_commands_need_a_stack(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("CI_PIPELINE_STATE", str(tmp_path / "none"))
    refused = cli("airflow", "backfill", "create", "--help")

    assert refused.exit_code == 1
    assert refused.stderr == "there is no stack yet; run `ci-pipeline up`\n"
