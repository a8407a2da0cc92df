"""Runs that are triggered by hand, and stages that are run again: through Airflow's real API and the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import Bus, clear, wait_until
from tests.e2e.test_a_change import PREFIX, run_of
from tests.makers import pushed

DAG = "ci-pipeline-f26"
# A package whose build says no is the quickest run there is.
BROKEN = package("hostinfo", "7.0", check="exit 1")
Trigger = Callable[..., httpx.Response]


@pytest.fixture
def trigger(api: httpx.Client) -> Trigger:
    """Trigger the branch's DAG with a conf, as the form in the UI does."""

    def post(note: str | None = None, **conf: Any) -> httpx.Response:
        return api.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": conf, "note": note})

    return post


def ended(api: httpx.Client, run_id: str, *, seconds: float = 240) -> dict[str, Any]:
    """Return a DAG run once it has ended."""

    def look(_: object) -> dict[str, Any] | None:
        answer: dict[str, Any] = api.get(f"/api/v2/dags/{DAG}/dagRuns/{run_id}").json()
        return answer if answer["state"] in {"success", "failed"} else None

    found: dict[str, Any] = wait_until(look, seconds=seconds, what=f"the end of {run_id}")
    return found


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"rev": "HEAD~1"}, "'HEAD~1' does not match"),
        ({"rev": "--upload-pack=x"}, "does not match"),
        ({"rev": 7}, "7 is not of type 'null', 'string'"),
        ({"repo": "../greeter"}, "'../greeter' does not match"),
        ({"namespace": "-rpms"}, "'-rpms' does not match"),
        ({"generate_image": "sometimes"}, "'sometimes' is not one of ['when-due', 'always', 'never']"),
        ({"gating": True}, "True is not one of ['as configured', 'gating', 'opt-in']"),
        ({"gating": "no"}, "'no' is not one of ['as configured', 'gating', 'opt-in']"),
        ({"conformance": "no"}, "'no' is not one of ['as configured', 'always', 'with-image', 'never']"),
        ({"test_guidance": "a\nb"}, "does not match"),
        ({"message": 7}, "7 is not of type 'null', 'string', 'object'"),
    ],
)
def test_a_wrong_value_is_refused_by_the_api(trigger: Trigger, conf: dict[str, Any], sentence: str) -> None:
    """With 400 and a sentence; there is no run."""
    answer = trigger(**({"repo": "greeter", "rev": "f26"} | conf))

    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"repo": "greeter", "rev": "f26", "colour": "red"}, "unknown keys in conf: colour; allowed: conformance, "),
        ({"repo": "greeter"}, "no rev: give repo and rev, or paste a message"),
        ({"message": json.loads(pushed(branch="rawhide").raw)}, "not f26: trigger ci-pipeline-rawhide with it"),
    ],
)
def test_a_conf_that_names_no_change_fails_in_the_first_task(
    api: httpx.Client, trigger: Trigger, bus: Bus, conf: dict[str, Any], sentence: str
) -> None:
    """What only we can check. Its note has the sentence beside its author's words; nothing is announced."""
    run_id = trigger("trying", **conf).raise_for_status().json()["dag_run_id"]
    done = ended(api, run_id)
    log = api.get(f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/build_package/logs/1").text
    with store.session() as session:
        known = runs.find(session, DAG, run_id)

    assert done["state"] == "failed"
    assert done["note"].startswith("FAILURE: this run has nothing to do: ")
    assert sentence in done["note"]
    assert done["note"].endswith("\n\ntrying")
    assert sentence in log
    assert known is None


def test_a_run_by_hand_reads_well(
    api: httpx.Client, trigger: Trigger, bus: Bus, distgit: DistGit, pipeline: Settings
) -> None:
    """An abbreviated revision, not the newest: the row, the messages and the note have the right one.

    The note says how it ended, in the one line that is ours; red tasks say why, and have links that work.
    """
    rev = distgit.commit("hostinfo", BROKEN)
    distgit.commit("hostinfo", BROKEN | {"more": "later"})
    run_id = trigger("bug 12", repo="hostinfo", rev=rev[:9]).raise_for_status().json()["dag_run_id"]
    messages = bus.wait_for("complete", rev)
    done = ended(api, run_id)
    run = run_of(rev)
    task = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/build_package"
    links = api.get(f"{task}/links").raise_for_status().json()["extra_links"]
    page = f"/ci-pipeline/change/{run_id.replace('+', '%2B').replace(':', '%3A')}"

    assert (run.run_id, run.rev) == (run_id, rev)
    assert {message["body"]["rev"] for message in messages} == {rev}
    assert [message["topic"].removeprefix(PREFIX) for message in messages][:1] == ["package.running"]
    assert done["note"].startswith(f"rpms/hostinfo {rev[:7]} f26: FAILURE: %check failed")
    assert done["note"].endswith(" (build_package)\n\nbug 12")
    assert api.get(task).json()["note"].startswith("FAILURE: %check failed")
    assert (links["Messages"], links["Results"]) == (f"{page}#messages", f"{page}#results")
    assert [name for name, address in links.items() if address is None] == ["Jenkins build", "Package repository"]

    log = api.get(links["Log file"])

    assert log.status_code == 200
    assert "%check" in log.text
    assert httpx.get(f"{pipeline.airflow.url}{links['Log file']}").status_code == 401


def test_notes_of_ours_end_nothing(api: httpx.Client, bus: Bus, trigger: Trigger, distgit: DistGit) -> None:
    """Airflow's audit log has them as changes of the run by hand; so are a person's. Neither is taken for an end."""
    rev = distgit.commit("hostinfo", BROKEN | {"more": "notes"})
    run_id = trigger(repo="hostinfo", rev=rev).raise_for_status().json()["dag_run_id"]
    bus.wait_for("package.running", rev)
    api.patch(f"/api/v2/dags/{DAG}/dagRuns/{run_id}", json={"note": "I am looking at it"}).raise_for_status()
    messages = bus.wait_for("complete", rev)
    note = ended(api, run_id)["note"]

    assert messages[-1]["body"]["status"] == "FAILURE"
    assert "ended it in Airflow" not in note
    assert note.endswith("\n\nI am looking at it")


def test_the_command_line_runs_a_branchs_head_and_waits(bus: Bus, distgit: DistGit, api: httpx.Client) -> None:
    """With a readable run id, and an exit status that says how it ended."""
    rev = distgit.commit("hostinfo", BROKEN | {"more": "cli"})
    program = str(Path(sys.executable).parent / "ci-pipeline")
    words = [program, "trigger", "rpms/hostinfo", "--branch", "f26", "--image", "never", "--wait"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=240)
    run = run_of(rev)
    there = ended(api, run.run_id)

    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"{run.run_id}: rpms/hostinfo {rev} on f26"
    assert run.run_id == f"rpms.hostinfo-{rev[:7]}-f26-{run.number}"
    assert there["conf"] == {"namespace": "rpms", "repo": "hostinfo", "rev": rev, "generate_image": "never"}
    assert there["note"].startswith(f"rpms/hostinfo {rev[:7]} f26: FAILURE")


# It promotes a version that the first good change of the branch could not follow.
@pytest.mark.usefixtures("good")
def test_a_stage_is_run_again_on_what_the_earlier_ones_made(
    api: httpx.Client, bus: Bus, trigger: Trigger, distgit: DistGit, pipeline: Settings
) -> None:
    """Cleared from the functional tests on, its host has been promoted: the package is not built again.

    The new tries have messages and results of their own, and the old ones stay.
    """
    rev = distgit.commit("greeter", package("greeter", "7.1"))
    trigger(repo="greeter", rev=rev, generate_image="never").raise_for_status()
    first = bus.wait_for("complete", rev)
    run = run_of(rev)
    ended(api, run.run_id)
    rpms = pipeline.artifacts.folder / "fedora-atomic" / "f26" / "repo" / "builds" / run.run_id
    built = {path.name: path.stat().st_mtime_ns for path in rpms.rglob("*.rpm")}
    clear(api, run, "functional_tests")

    def again(session: Any) -> bool:
        tries = [(row.stage, row.try_number) for row in runs.locked(session, run.id).results]
        return ("integration_tests", 2) in tries and session.get_one(Run, run.id).status is not None

    def completes() -> list[str]:
        return [one["topic"] for one in bus.of(rev) if one["topic"] == f"{PREFIX}complete"]

    wait_until(again, seconds=300, what="the end of the second pass")
    done = ended(api, run.run_id)
    wait_until(lambda _: len(completes()) == 2, seconds=30, what="the second end on the bus")
    with store.session() as session:
        row = runs.locked(session, run.id)
        tries = [(one.stage, one.try_number) for one in row.results if one.try_number]
        composes = [one.outputs["compose_rev"] for one in row.results if one.stage == "compose_ostree"]
        nvrs = {message["body"].get("nvr") for message in bus.of(rev)} - {None, ""}
        status = row.status
    second = [message["topic"].removeprefix(PREFIX) for message in bus.of(rev)][len(first) :]

    assert status == "SUCCESS"
    # Without an image, whether there is a cluster is asked all the same.
    stages = ["functional_tests", "compose_ostree", "integration_tests", "generate_image", "provision_hosts"]
    assert tries == [("build_package", 1), *((stage, 1) for stage in stages), *((stage, 2) for stage in stages)]
    assert {path.name: path.stat().st_mtime_ns for path in rpms.rglob("*.rpm")} == built
    assert len(nvrs) == 1
    assert second[0].startswith("package.test.functional.")
    assert second[-1] == "complete"
    assert "package.running" not in second
    assert len(set(composes)) == 2
    assert done["note"].startswith(f"rpms/greeter {rev[:7]} f26: SUCCESS")
