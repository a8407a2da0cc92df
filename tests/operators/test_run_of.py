"""How a DAG run that was triggered by hand becomes a run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from ci_pipeline import settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.stages import FUNCTIONAL_TESTS
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Run
from operators import run_of
from operators.build_package import BuildPackageOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.run_of import adopt
from tests.distgit import DistGit
from tests.makers import new_run, play, pushed, report

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def distgit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DistGit:
    """A dist-git of the test's own; the settings point to it."""
    made = DistGit(tmp_path)
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", made.url)
    settings.current.cache_clear()
    return made


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes that were about to be written; they have tests of their own."""
    said: list[str] = []
    fakes = SimpleNamespace(
        write_change=lambda _, run: said.append(str(runs.change_of(run))),
        write_refusal=lambda _, dag_id, run_id, reason: said.append(f"{dag_id} {run_id} {reason}"),
    )
    monkeypatch.setattr(run_of, "notes", fakes)
    return said


def stored() -> list[Run]:
    """Return all runs there are."""
    with store.session() as session:
        return runs.recent(session)


def test_a_conf_that_names_nothing_is_final_and_leaves_no_run(context: Callable[..., Any], noted: list[str]) -> None:
    """It fails with a sentence, which the run's note has, too."""
    with pytest.raises(AirflowFailException, match="this run has nothing to do: unknown keys in conf: colour"):
        adopt(context(BuildPackageOperator(), colour="red"))

    assert stored() == []
    assert noted[0].startswith("ci-pipeline-f26 manual__1 this run has nothing to do: unknown keys in conf: colour")


def test_a_revision_that_is_not_there_is_final(context: Callable[..., Any], distgit: DistGit, noted: list[str]) -> None:
    """Trying again would not help."""
    distgit.commit("greeter", {"a": "b"})

    with pytest.raises(AirflowFailException, match="rpms/greeter has no branch or tag v9"):
        adopt(context(BuildPackageOperator(), rev="v9"))

    assert stored() == []


def test_dist_git_that_is_away_is_tried_again(context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's fault but the infrastructure's."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", "http://127.0.0.1:9")
    settings.current.cache_clear()

    with pytest.raises(AirflowException, match="rpms/greeter: ") as away:
        adopt(context(BuildPackageOperator(), rev="f26"))

    assert not isinstance(away.value, AirflowFailException)
    assert stored() == []


def test_a_branch_is_its_head_of_that_moment(context: Callable[..., Any], distgit: DistGit, noted: list[str]) -> None:
    """What is pushed afterwards, and what asks again, does not change it: the run and its note have all 40 digits."""
    rev = distgit.commit("greeter", {"a": "1"})
    by_hand = context(BuildPackageOperator(), rev="f26")
    first = adopt(by_hand)
    distgit.commit("greeter", {"a": "2"})

    assert (first, adopt(by_hand)) == (True, False)
    assert [(run.rev, run.number) for run in stored()] == [(rev, 1)]
    assert noted == [f"rpms/greeter {rev[:7]} f26"]


def test_several_revisions_of_a_package_are_runs_of_their_own(
    context: Callable[..., Any], distgit: DistGit, noted: list[str]
) -> None:
    """Whatever was pushed since."""
    revs = [distgit.commit("greeter", {"a": str(number)}) for number in range(3)]
    for number, rev in enumerate(revs):
        adopt(context(BuildPackageOperator(), run_id=f"manual__{number}", rev=rev[:10]))

    assert [run.rev for run in reversed(stored())] == revs


def test_a_pasted_message_is_enough(context: Callable[..., Any], noted: list[str]) -> None:
    """With the form's other fields empty."""
    message = pushed().raw.decode()
    adopt(context(BuildPackageOperator(), namespace=None, repo=None, rev=None, message=message))

    assert [str(runs.change_of(run)) for run in stored()] == ["rpms/greeter 35fdde9 f26"]


def test_a_package_that_is_not_watched_is_run_and_that_is_said(
    context: Callable[..., Any], noted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever triggers it by hand means it."""
    adopt(context(BuildPackageOperator(), repo="bash"))

    assert [run.repo for run in stored()] == ["bash"]
    assert "rpms/bash is not watched (packages); it is run because it was asked for" in caplog.text


@pytest.mark.parametrize(
    ("repo", "gating", "stops"),
    [
        ("greeter", "as configured", True),
        ("greeter", "opt-in", False),
        ("hostinfo", "as configured", False),
        ("hostinfo", "gating", True),
    ],
)
def test_gating_can_be_asked_for(
    context: Callable[..., Any],
    carried_out: Callable[..., Any],
    noted: list[str],
    repo: str,
    gating: str,
    stops: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """For this one run, in place of what the package is configured as; the run's end agrees."""
    build, functional = BuildPackageOperator(), FunctionalTestsOperator()
    carried_out(build, report(build.stage))
    build.execute(context(build, repo=repo, gating=gating))
    carried_out(functional, report(FUNCTIONAL_TESTS, Status.UNSTABLE, "1 of 2 failed"))
    stopped = False
    try:
        functional.execute(context(functional, repo=repo, gating=gating))
    except AirflowFailException:
        stopped = True
    with store.session() as session:
        run = runs.locked(session, stored()[0].id)
        said = Journal(session, settings.current()).finish_run(run)

    # It went no further here; where it should have, that is an early end.
    assert stopped is stops
    assert said == ("UNSTABLE" if stops else "ABORTED")


def test_conformance_tests_can_be_declined(current: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is a cluster; then they are not announced either."""
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "existing")
    settings.current.cache_clear()
    with store.session() as session:
        run = runs.create(session, runs.change_of(new_run()), options={"conformance": "never"})
    play(settings.current(), run, *[Status.SUCCESS] * 6)
    with store.session() as session:
        said = [message.event for message in outbox.messages(session, run=run.id)]

    assert not [event for event in said if "conformance" in event]


def test_an_option_is_fired_with_the_run(current: settings.Settings) -> None:
    """Also when Airflow was away when it was asked for."""
    with store.session() as session:
        run = runs.create(session, runs.change_of(new_run()), test_guidance="a,b", options={"generate_image": "always"})

    assert runs.conf_of(run) == {
        "namespace": "rpms",
        "repo": "greeter",
        "rev": run.rev,
        "test_guidance": "a,b",
        "generate_image": "always",
    }


def test_a_backfill_of_airflow_can_be_told_to_make_everything_anew(
    context: Callable[..., Any], noted: list[str]
) -> None:
    """Its conf is each of its runs'; the package is the revision's."""
    key = f"rpms/greeter@{'1' * 40}"
    for number, asked in enumerate(({}, {"reuse": "never"})):
        named = {"run_id": f"backfill__{number}", "partition_key": key, "repo": None, "rev": None}
        adopt(context(BuildPackageOperator(), **named, **asked))

    assert [(run.kind, run.options) for run in reversed(stored())] == [
        ("backfill", {}),
        ("backfill", {"reuse": "never"}),
    ]
