"""The links of a stage in the UI. The real UI asks for them in tests/e2e/test_by_hand.py."""

from types import SimpleNamespace

import pytest

from ci_pipeline import addresses, settings, store
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, STAGES, Stage
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Image, Run
from operators import links
from tests.makers import new_run, play, report

LOG = {"name": "build.log", "path": "/a/build.log", "kind": "log", "sha256": "0" * 64, "size": 1}
PAGE = "/ci-pipeline/change/rpms.greeter-35fdde9-f26-1"
ALWAYS = {"Messages": f"{PAGE}#messages", "Results": f"{PAGE}#results"}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Runs of one test look like those of another."""
    links._addresses.cache_clear()


def shown(run: Run, stage: Stage, *, try_number: int = 1) -> dict[str, str]:
    """Return the links of a try that the UI would show."""
    key = SimpleNamespace(dag_id=run.dag_id, run_id=run.run_id, task_id=stage.name, try_number=try_number)
    task = f"{''.join(part.title() for part in stage.name.split('_'))}Operator"
    mine = [one for one in links.ALL if any(operator.__name__ == task for operator in one.operators)]
    found = {link.name: link.get_link(None, ti_key=key) for link in mine}
    return {name: address for name, address in found.items() if address}


def build(current: Settings, run: Run, outcome: Report, *, try_number: int = 1) -> None:
    """Let a try of the build begin and end."""
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, try_number)
        journal.finish_stage(row, BUILD_PACKAGE, try_number, outcome, final=True)


def test_without_the_database_there_are_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page they are on must not break."""
    monkeypatch.setenv("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://nobody@127.0.0.1:9/none")
    settings.current.cache_clear()

    assert shown(Run(dag_id="ci-pipeline-f26", run_id="x"), BUILD_PACKAGE) == {}


@pytest.mark.usefixtures("database")
def test_a_dag_run_that_is_no_run_has_no_links() -> None:
    """Its conf named no change."""
    assert shown(Run(dag_id="ci-pipeline-f26", run_id="manual__1"), BUILD_PACKAGE) == {}


@pytest.mark.usefixtures("database")
def test_a_run_that_has_made_nothing_shows_what_it_says(current: Settings) -> None:
    """Nothing leads nowhere."""
    assert shown(new_run(), BUILD_PACKAGE) == ALWAYS


@pytest.mark.usefixtures("database")
def test_every_stage_shows_what_was_made_until_then(current: Settings) -> None:
    """The packages at once, the compose and the image from where they are made."""
    run = new_run()
    play(current, run, *[Status.SUCCESS] * len(STAGES))
    folder = f"{current.artifacts.url}/fedora-atomic/f26"
    packages = {"Package repository": f"{folder}/repo/builds/{run.run_id}/"}
    compose = {"Compose": f"{folder}/ostree/"}
    image = {"Image": f"{folder}/images/fedora-atomic-26.1-9a4e37c459e67c7.qcow2"}
    wanted = [packages] * 2 + [packages | compose] * 2 + [packages | compose | image] * 6

    assert [shown(run, stage) for stage in STAGES] == [ALWAYS | one for one in wanted]


@pytest.mark.usefixtures("database")
def test_what_retention_removed_is_not_shown(current: Settings) -> None:
    """A removed image; then all of a pruned run but its words."""
    run = new_run()
    play(current, run, *[Status.SUCCESS] * 6)
    with store.session() as session:
        session.query(Image).one().removed_at = run.created_at
    without_image = shown(run, STAGES[5])
    links._addresses.cache_clear()
    with store.session() as session:
        runs.locked(session, run.id).pruned_at = run.created_at

    assert sorted(without_image) == ["Compose", "Messages", "Package repository", "Results"]
    assert shown(run, STAGES[5]) == ALWAYS


@pytest.mark.usefixtures("database")
def test_each_try_has_its_own_log(current: Settings) -> None:
    """The log of the main tool, not of what it had to prepare."""
    run = new_run()
    prepared = LOG | {"name": "base-os.log"}
    for try_number in (1, 2):
        failed = Report.model_validate({"status": "FAILURE", "artifacts": [prepared, LOG]})
        build(current, run, failed, try_number=try_number)
    with store.session() as session:
        ids = [
            [one.id for one in row.artifacts if one.name == "build.log"] for row in runs.locked(session, run.id).results
        ]

    for try_number, (wanted,) in enumerate(ids, 1):
        assert (
            shown(run, BUILD_PACKAGE, try_number=try_number)["Log file"]
            == f"/ci-pipeline-logs/ci-pipeline-f26/{wanted}"
        )


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("told", "there"), [("https://jenkins.example.org/job/x/1/", True), ("javascript:alert(1)", False), ("", False)]
)
def test_a_jenkins_build_is_shown_if_it_is_an_address(
    current: Settings,
    told: str,
    there: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What a stage reports may be anything."""
    run = new_run()
    done = report(BUILD_PACKAGE)
    build(current, run, done.model_copy(update={"outputs": {**done.outputs, "jenkins_url": told}}))

    assert ("Jenkins build" in shown(run, BUILD_PACKAGE)) is there


def test_addresses_below_airflow_keep_its_path(current: Settings) -> None:
    """Behind a proxy Airflow may have another name, and a prefix."""
    behind = current.model_copy(
        update={"airflow": current.airflow.model_copy(update={"url": "http://10.0.0.1/airflow/"})}
    )

    assert addresses.below_airflow(behind, "/x") == "/airflow/x"
